/** A scene in the buffers of a WebGPU device; what webgl2_scene.js is for WebGL. */
import { mostImportant } from "./depth_sort.js";
import { ARGUMENTS } from "./gpu_sort.js";
import { geometryOf, importance, paddedSh, Scene } from "./scene.js";
import { DRAWN_BYTES, GROUP, VIEW_BYTES } from "./wgsl.js";

const MOST_GROUPS = 65535; // workgroups of one dispatch, on every device
const EVERYWHERE = 3e38;

export class WebGpuScene extends Scene {
  /**
   * @param {import("./webgpu.js").WebGpuRenderer} renderer
   * @param {import("../load/load.js").SceneHead} head
   */
  constructor(renderer, head) {
    super(head);
    this.renderer = renderer;
    this.budget = Infinity;
    this.importance = new Float32Array(head.count);
    this.looked = 0; // how many the projection looks at: all, or the budget
    this.drawn = 0; // as of the last picture whose count has come back
    this.sortMs = null; // part of the frame
    this.allocate();
  }

  /** Words of 4 bytes that the SH of one splat take: whole or pairs of 16 bits. */
  get shWords() {
    return this.integers ? Math.ceil(this.shWidth / 2) : this.shWidth;
  }

  /** Whether there is something to draw. */
  get ready() {
    return this.count > 0;
  }

  /** Bytes of GPU memory. */
  get bytes() {
    return this.head.count * (64 + 4 * this.shWords + DRAWN_BYTES + 24);
  }

  allocate() {
    const { device, sorting } = this.renderer;
    const { count, degree, shSpace } = this.head;
    const most = device.limits.maxStorageBufferBindingSize;
    if (count * Math.max(64, 4 * this.shWords) > most || count > MOST_GROUPS * GROUP) throw new Error(`${count} splats are more than this browser can draw by WebGPU: add ?renderer=webgl2 to the address`);
    const { STORAGE, UNIFORM, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
    const buffer = (size, usage) => device.createBuffer({ size: Math.max(size, 64), usage });
    this.view = buffer(VIEW_BYTES, UNIFORM | COPY_DST);
    this.geometry = buffer(64 * count, STORAGE | COPY_DST);
    this.sh = degree ? buffer(4 * this.shWords * count, STORAGE | COPY_DST) : null;
    this.chosen = buffer(4 * count, STORAGE | COPY_DST);
    this.projected = buffer(DRAWN_BYTES * count, STORAGE);
    this.counted = buffer(ARGUMENTS.bytes, COPY_DST | MAP_READ);
    this.counting = false;
    this.sort = sorting.buffers(count);
    this.stale = true; // `chosen` no longer fits what is here
    this.projector = this.renderer.projector({ degree, integers: this.integers, ycocg: shSpace === "ycocg" });
    const bound = [this.view, this.geometry, this.chosen, this.projected, this.sort.depths, this.sort.blocks, this.sh];
    const entries = bound.map((b, binding) => b && { binding, resource: { buffer: b } }).filter(Boolean);
    this.projectGroup = device.createBindGroup({ layout: this.projector.getBindGroupLayout(0), entries });
    this.drawGroups = new Map();
  }

  /** Adds a chunk of splats; they are drawn from the next frame on. */
  append(chunk) {
    this.importance.set(importance(chunk), this.count);
    super.append(chunk);
    this.stale = true;
  }

  upload(chunk, first) {
    const { queue } = this.renderer.device;
    queue.writeBuffer(this.geometry, 64 * first, geometryOf(chunk));
    if (!this.sh) return;
    const numbers = this.integers ? 2 * this.shWords : this.shWords;
    queue.writeBuffer(this.sh, 4 * this.shWords * first, paddedSh(chunk, this.shWidth, numbers));
  }

  setBudget(most) {
    this.budget = most;
    this.stale = true;
  }

  /** How many splats the projection looks at; whether those are all. */
  choose() {
    if (this.stale) {
      const chosen = mostImportant(this.importance, this.count, this.budget);
      if (chosen) this.renderer.device.queue.writeBuffer(this.chosen, 0, chosen);
      this.looked = chosen ? chosen.length : this.count;
      this.all = chosen === null;
      this.stale = false;
    }
    return this.looked;
  }

  /** Writes the uniforms of a picture. */
  look(camera) {
    const m = camera.viewFromWorld;
    const data = new ArrayBuffer(VIEW_BYTES);
    const f = new Float32Array(data);
    f.set([...m].slice(0, 12), 0);
    const t = [m[3], m[7], m[11]];
    for (let a = 0; a < 3; a++) f[12 + a] = -(m[a] * t[0] + m[4 + a] * t[1] + m[8 + a] * t[2]);
    f[15] = this.gain.logScale;
    f.set([camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, this.gain.opacity, this.head.antialiased ? 1 : 0], 16);
    const box = this.box ?? [-EVERYWHERE, -EVERYWHERE, -EVERYWHERE, EVERYWHERE, EVERYWHERE, EVERYWHERE];
    f.set(box.slice(0, 3), 24);
    f.set(box.slice(3), 28);
    for (let band = 0; band < this.head.degree; band++) f.set(this.shSteps.subarray(2 * band, 2 * band + 2), 32 + 4 * band);
    new Uint32Array(data).set([this.looked, this.degree, this.all ? 1 : 0], 44);
    this.renderer.device.queue.writeBuffer(this.view, 0, data);
  }

  /** Projection and order of one picture; nothing where there are no splats. */
  encode(encoder, camera) {
    if (!this.choose()) return;
    this.look(camera);
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.projector);
    pass.setBindGroup(0, this.projectGroup);
    pass.dispatchWorkgroups(Math.ceil(this.looked / GROUP));
    this.renderer.sorting.encode(pass, this.sort, this.looked);
    pass.end();
    if (!this.counting) encoder.copyBufferToBuffer(this.sort.arguments, 0, this.counted, 0, ARGUMENTS.bytes);
  }

  /** Reads how many splats the picture that was just submitted has. */
  async tally() {
    if (this.counting || !this.looked) return;
    this.counting = true;
    const { counted } = this;
    try {
      await counted.mapAsync(GPUMapMode.READ);
      this.drawn = new Uint32Array(counted.getMappedRange())[ARGUMENTS.count];
      counted.unmap();
    } catch {
      return; // the scene or the device is gone
    } finally {
      if (counted === this.counted) this.counting = false;
    }
  }

  draw(pass, pipeline) {
    if (!this.looked) return;
    if (!this.drawGroups.has(pipeline)) {
      const entries = [this.view, this.projected, this.sort.slots].map((buffer, binding) => ({ binding, resource: { buffer } }));
      this.drawGroups.set(pipeline, this.renderer.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    }
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.drawGroups.get(pipeline));
    pass.drawIndirect(this.sort.arguments, ARGUMENTS.draw);
  }

  dispose() {
    [this.view, this.geometry, this.sh, this.chosen, this.projected, this.counted, this.sort].forEach((buffer) => buffer?.destroy());
    super.dispose();
  }
}
