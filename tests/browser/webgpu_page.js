/** Pictures of one scene by both renderers, as base64 of float32 RGBA or of bytes. */
import { openScene } from "/load/load.js";
import { Renderer } from "/render/webgl2.js";
import { WebGpuRenderer } from "/render/webgpu.js";
import { base64, fetched, sourceOf } from "/tests/decoding.js";

const renderers = {};

export async function start() {
  const canvas = () => Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
  renderers.webgl2 ??= new Renderer(canvas());
  renderers.webgpu ??= await WebGpuRenderer.create(canvas(), { software: true });
  return renderers.webgpu !== null;
}

async function load(renderer, name, settings) {
  let scene;
  await openScene(sourceOf(await fetched(`/files/${name}`), name), { onHead: (head) => (scene = renderer.createScene(head)), onChunk: (chunk) => scene.append(chunk) });
  if (settings.degree !== undefined) scene.degree = settings.degree;
  if (settings.gain) scene.gain = settings.gain;
  if (settings.box) scene.box = settings.box;
  if (settings.budget) scene.setBudget(settings.budget);
  return scene;
}

/** @param {{settings?: object, capture?: object, background?: number[]}} how */
export async function picture(which, name, camera, { settings = {}, capture = {}, background = [0, 0, 0] } = {}) {
  const renderer = renderers[which];
  const scene = await load(renderer, name, settings);
  try {
    renderer.background = background;
    return base64(await renderer.capture(scene, { camera, ...capture }));
  } finally {
    renderer.removeScene(scene);
  }
}

/** How the canvas of a renderer looks after one frame or one difference; how many splats were drawn. */
export async function canvas(which, names, camera, { shares = [[0, 1]], gain = 0 } = {}) {
  const renderer = renderers[which];
  Object.assign(renderer.canvas, { width: camera.width, height: camera.height });
  const scenes = await Promise.all(names.map((name) => load(renderer, name, {})));
  try {
    for (const scene of scenes) await renderer.prepare(scene, camera);
    const paint = () => (gain ? renderer.difference(...scenes, camera, gain) : renderer.frame(scenes.map((scene, i) => ({ scene, from: shares[i][0], to: shares[i][1] })), camera));
    const flat = new OffscreenCanvas(camera.width, camera.height).getContext("2d", { willReadFrequently: true });
    paint();
    flat.drawImage(renderer.canvas, 0, 0); // in the same task: later a canvas may have been cleared
    const pixels = flat.getImageData(0, 0, camera.width, camera.height).data;
    if (which === "webgpu") for (let i = 0; i < 200 && scenes[0].counting; i++) await new Promise((done) => setTimeout(done, 10));
    return { pixels: base64(pixels), drawn: scenes.map((scene) => scene.drawn) };
  } finally {
    scenes.forEach((scene) => renderer.removeScene(scene));
  }
}

/** The picture after the device was lost and another one found. */
export async function pictureAfterLoss(name, camera) {
  const renderer = renderers.webgpu;
  const scene = await load(renderer, name, {});
  const before = base64(await renderer.capture(scene, { camera }));
  const restored = new Promise((resolve) => (renderer.onChange = resolve));
  renderer.device.destroy();
  await restored;
  renderer.onChange = () => {};
  const after = base64(await renderer.capture(scene, { camera }));
  renderer.removeScene(scene);
  return { before, after };
}
