/**
 * Draws scenes with WebGPU: projects, culls and sorts on the GPU, so every picture is in exact order. The interface and the
 * pictures are those of webgl2.js.
 */
import { GpuSort } from "./gpu_sort.js";
import { COPY_CODE, DIFFERENCE_CODE, DRAW_CODE, projectCode, RESOLVE_CODE } from "./wgsl.js";
import { Turns } from "../tasks.js";
import { toBytes } from "./pixels.js";
import { WebGpuScene } from "./webgpu_scene.js";

const HALF = "rgba16float";
const BLEND = { srcFactor: "one", dstFactor: "one-minus-src-alpha", operation: "add" };

export class WebGpuRenderer {
  name = "webgpu";

  /**
   * @param {HTMLCanvasElement} canvas One that has no context yet.
   * @param {{exact?: boolean, onChange?: () => void, software?: boolean}} options
   *   onChange: something calls for a new frame. software: take an adapter that is no GPU, too.
   * @returns {Promise<WebGpuRenderer|null>} null if this browser has none; the canvas is untouched then.
   */
  static async create(canvas, { exact = true, onChange = () => {}, software = false } = {}) {
    const found = await findDevice(software);
    if (!found) return null;
    const renderer = new WebGpuRenderer(canvas, exact, onChange, software);
    try {
      await renderer.setUp(found);
    } catch {
      found.destroy();
      return null; // a shader that this driver does not take
    }
    return renderer;
  }

  /** @private */
  constructor(canvas, exact, onChange, software) {
    this.canvas = canvas;
    this.wantsExact = exact;
    this.onChange = onChange;
    this.software = software;
    this.background = [0, 0, 0];
    this.scenes = new Set();
    this.lost = false;
    this.turns = new Turns(() => this.device.queue.onSubmittedWorkDone());
  }

  /** Resolves when the GPU has done all it was given, for one caller after the other. */
  turn() {
    return this.turns.turn();
  }

  async setUp(device) {
    this.device = device;
    this.format = navigator.gpu.getPreferredCanvasFormat();
    this.floatFormat = device.features.has("float32-blendable") ? "rgba32float" : HALF;
    this.programs = new Map();
    this.targets = new Map();
    device.pushErrorScope("validation");
    this.sorting = new GpuSort(device);
    [HALF, this.floatFormat].forEach((format) => this.drawer(format));
    this.projector({ degree: 3, integers: true, ycocg: true });
    this.uniforms = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    const error = await device.popErrorScope();
    if (error) throw new Error(error.message);
    this.context ??= this.canvas.getContext("webgpu");
    if (!this.context) throw new Error("the canvas has a context of another kind");
    this.context.configure({ device, format: this.format, alphaMode: "opaque" });
    device.addEventListener("uncapturederror", ({ error: { message } }) => console.error(`WebGPU: ${message}`));
    device.lost.then(() => this.disposed || this.recover());
  }

  /** After the device was lost: another one, with all scenes. */
  async recover() {
    this.lost = true;
    const device = await findDevice(this.software);
    if (!device) return; // nothing is drawn any more
    await this.setUp(device);
    this.scenes.forEach((scene) => scene.restore());
    this.lost = false;
    this.onChange();
  }

  /** The format in which pictures are blended. */
  blended(exact) {
    return exact ? this.floatFormat : HALF;
  }

  /** In what pictures are blended, in words. */
  get blending() {
    return this.blended(this.wantsExact) === HALF ? "half floats" : "floats";
  }

  /** @param {import("../load/load.js").SceneHead} head */
  createScene(head) {
    if (head.voxels) throw new Error("voxels are drawn by WebGL 2: add ?renderer=webgl2 to the address of this page");
    const scene = new WebGpuScene(this, head);
    this.scenes.add(scene);
    return scene;
  }

  removeScene(scene) {
    this.scenes.delete(scene);
    scene.dispose();
  }

  /** Nothing to do: each picture sorts by itself. */
  sort() {}

  /** Resolves when the scene can be drawn in order. */
  async prepare() {}

  /**
   * Draws to the canvas.
   * @param {{scene: WebGpuScene, from?: number, to?: number}[]} parts Scenes, each between two shares of the width.
   */
  frame(parts, camera) {
    if (this.lost) return;
    const encoder = this.device.createCommandEncoder();
    parts.forEach(({ scene }) => scene.encode(encoder, camera));
    const canvas = this.context.getCurrentTexture().createView();
    const format = this.blended(this.wantsExact);
    const target = this.target(camera, format, "a");
    this.paint(encoder, parts, camera, target, format);
    this.cover(encoder, RESOLVE_CODE, canvas, this.format, [target], [...this.background, 0]);
    this.submit(encoder, parts);
  }

  /** Draws `gain` times the absolute difference of two scenes to the canvas, dark blue to yellow. */
  difference(first, second, camera, gain) {
    if (this.lost) return;
    const encoder = this.device.createCommandEncoder();
    const parts = [{ scene: first }, { scene: second }];
    const targets = parts.map((part, i) => {
      part.scene.encode(encoder, camera);
      const target = this.target(camera, this.floatFormat, "ab"[i]);
      this.paint(encoder, [part], camera, target, this.floatFormat);
      return target;
    });
    const canvas = this.context.getCurrentTexture().createView();
    this.cover(encoder, DIFFERENCE_CODE, canvas, this.format, targets, [...this.background, gain]);
    this.submit(encoder, parts);
  }

  /**
   * A picture of one scene.
   * @param {{camera: import("./webgl2.js").Camera, mode?: "exact"|"fast", float?: boolean}} options
   *   `float`: numbers before rounding, RGBA premultiplied without background. The order is exact always.
   * @returns {Promise<Uint8ClampedArray|Float32Array>} RGBA, the top row first.
   */
  async capture(scene, { camera, mode = "exact", float = false }) {
    if (this.lost) throw new Error("the graphics device was lost; try again in a moment");
    const { device } = this;
    const { width, height } = camera;
    const limit = device.limits.maxTextureDimension2D;
    if (!(width >= 1 && height >= 1 && Math.max(width, height) <= limit)) throw new Error(`a picture of ${width} x ${height} is beyond this browser's ${limit} pixels a side`);
    const format = this.blended(mode === "exact");
    const readable = "rgba32float";
    const { RENDER_ATTACHMENT, TEXTURE_BINDING, COPY_SRC } = GPUTextureUsage;
    const texture = (f) => device.createTexture({ size: [width, height], format: f, usage: RENDER_ATTACHMENT | TEXTURE_BINDING | COPY_SRC });
    const drawn = texture(format);
    const read = format === readable ? drawn : texture(readable);
    const pixel = 16;
    const stride = Math.ceil((pixel * width) / 256) * 256;
    const buffer = device.createBuffer({ size: stride * height, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    try {
      const encoder = device.createCommandEncoder();
      scene.encode(encoder, camera);
      this.paint(encoder, [{ scene }], camera, drawn.createView(), format);
      if (read !== drawn) this.cover(encoder, COPY_CODE, read.createView(), readable, [drawn.createView()], null);
      encoder.copyTextureToBuffer({ texture: read }, { buffer, bytesPerRow: stride }, [width, height]);
      this.submit(encoder, [{ scene }]);
      await buffer.mapAsync(GPUMapMode.READ);
      const numbers = new Float32Array(4 * width * height);
      const mapped = buffer.getMappedRange();
      for (let y = 0; y < height; y++) numbers.set(new Float32Array(mapped, stride * y, 4 * width), 4 * width * y);
      return float ? numbers : toBytes(numbers, this.background);
    } finally {
      buffer.destroy();
      drawn.destroy();
      read.destroy();
    }
  }

  submit(encoder, parts) {
    this.device.queue.submit([encoder.finish()]);
    parts.forEach(({ scene }) => scene.tally());
  }

  /** Splats of the parts into a view of a texture that is transparent at first. */
  paint(encoder, parts, { width, height }, view, format) {
    const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store", clearValue: [0, 0, 0, 0] }] });
    for (const { scene, from = 0, to = 1 } of parts) {
      const [left, right] = [Math.round(from * width), Math.round(to * width)];
      if (right <= left) continue;
      pass.setScissorRect(left, 0, right - left, height);
      scene.draw(pass, this.drawer(format));
    }
    pass.end();
  }

  /** Runs a fragment shader over everything; `numbers`: its four uniforms. */
  cover(encoder, code, view, format, pictures, numbers) {
    const { device } = this;
    const pipeline = this.pipeline(`cover ${format} ${code}`, () => {
      const module = device.createShaderModule({ code });
      return device.createRenderPipeline({ layout: "auto", vertex: { module, entryPoint: "cover" }, fragment: { module, entryPoint: "paint", targets: [{ format }] } });
    });
    if (numbers) device.queue.writeBuffer(this.uniforms, 0, new Float32Array(numbers));
    const resources = [...(numbers ? [{ buffer: this.uniforms }] : []), ...pictures];
    const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store", clearValue: [0, 0, 0, 1] }] });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: resources.map((resource, binding) => ({ binding, resource })) }));
    pass.draw(3);
    pass.end();
  }

  pipeline(key, make) {
    if (!this.programs.has(key)) this.programs.set(key, make());
    return this.programs.get(key);
  }

  projector(kind) {
    return this.pipeline(`project ${JSON.stringify(kind)}`, () => {
      const module = this.device.createShaderModule({ label: "project", code: projectCode(kind) });
      return this.device.createComputePipeline({ label: "project", layout: "auto", compute: { module, entryPoint: "main" } });
    });
  }

  drawer(format) {
    return this.pipeline(`draw ${format}`, () => {
      const module = this.device.createShaderModule({ label: "draw", code: DRAW_CODE });
      return this.device.createRenderPipeline({
        label: "draw", layout: "auto", vertex: { module, entryPoint: "corner" }, primitive: { topology: "triangle-strip" },
        fragment: { module, entryPoint: "blend", targets: [{ format, blend: { color: BLEND, alpha: BLEND } }] },
      });
    });
  }

  /** A view of a texture of the size of the picture, kept from frame to frame. */
  target({ width, height }, format, name) {
    const kept = this.targets.get(name);
    if (kept?.texture.width === width && kept.texture.height === height) return kept.view;
    kept?.texture.destroy();
    const texture = this.device.createTexture({ size: [width, height], format, usage: GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.TEXTURE_BINDING });
    const target = { texture, view: texture.createView() };
    this.targets.set(name, target);
    return target.view;
  }

  dispose() {
    this.disposed = true;
    [...this.scenes].forEach((scene) => this.removeScene(scene));
    this.device.destroy();
  }
}

/** A device with all the memory that its adapter gives; null if there is none, or only software where that is not asked for. */
async function findDevice(software) {
  try {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter || (!software && (adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter))) return null;
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    const requiredFeatures = ["float32-blendable"].filter((feature) => adapter.features.has(feature));
    return await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize }, requiredFeatures });
  } catch {
    return null;
  }
}
