/** Which renderer draws: WebGPU where there is a GPU for it, else WebGL 2. */
import { Renderer } from "./webgl2.js";
import { WebGpuRenderer } from "./webgpu.js";

/**
 * @param {HTMLCanvasElement} canvas
 * @param {"webgpu"|"webgl2"|null} wanted null: the better one. webgpu: even if it is computed in software.
 * @throws {Error} This browser can draw neither way, or not the way that is wanted.
 */
export async function createRenderer(canvas, wanted = null) {
  if (wanted !== "webgl2") {
    const renderer = await WebGpuRenderer.create(canvas, { software: wanted === "webgpu" });
    if (renderer) return renderer;
    if (wanted === "webgpu") throw new Error("this browser has no WebGPU: leave ?renderer=webgpu out of the address");
  }
  return new Renderer(canvas);
}
