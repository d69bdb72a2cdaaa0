/**
 * Draws scenes with WebGL 2. `exact` blends into floats, `fast` into half floats; both are rounded to 8 bits once, at the
 * end. Where a GPU can draw to neither, every splat is rounded.
 *
 * @typedef {{width: number, height: number, fx: number, fy: number, cx: number, cy: number, viewFromWorld: ArrayLike<number>}} Camera
 *   Pixels; viewFromWorld: 16 numbers by rows, OpenCV axes (x right, y down, z forward).
 */
import { Turns } from "../tasks.js";
import { toBytes } from "./pixels.js";
import { BLEND_SHADER, COVER_SHADER, DIFFERENCE_SHADER, DRAW_SHADER, NOTHING_SHADER, PROJECT_OUTPUTS, projectShader, RESOLVE_SHADER } from "./shaders.js";
import { WebGl2Scene } from "./webgl2_scene.js";
import { WebGl2Voxels } from "./webgl2_voxels.js";

const GEOMETRY_UNIT = 0;
const SH_UNIT = 1;
const EVERYWHERE = [3e38, 3e38, 3e38];
const POLL_MS = 3;

export class Renderer {
  name = "webgl2";

  /**
   * @param {HTMLCanvasElement|OffscreenCanvas} canvas
   * @param {{exact?: boolean, onChange?: () => void}} options onChange: something calls for a new frame.
   */
  constructor(canvas, { exact = true, onChange = () => {} } = {}) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.wantsExact = exact;
    this.background = [0, 0, 0];
    this.scenes = new Set();
    this.turns = new Turns(() => this.settled());
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, stencil: false, powerPreference: "high-performance" });
    if (!gl) throw new Error("this browser has no WebGL 2: update it, or turn on hardware acceleration");
    this.gl = gl;
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // or it is never restored
      this.lost = true;
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.lost = false;
      this.setUp();
      this.scenes.forEach((scene) => scene.restore());
      this.onChange();
    });
    this.setUp();
  }

  setUp() {
    const { gl } = this;
    const float = gl.getExtension("EXT_color_buffer_float");
    const blend = gl.getExtension("EXT_float_blend");
    // Half floats blend everywhere where they can be drawn to; whole ones need an extension of their own.
    this.halfFormat = float || gl.getExtension("EXT_color_buffer_half_float") ? gl.RGBA16F : null;
    this.floatFormat = float && blend ? gl.RGBA32F : this.halfFormat;
    this.programs = new Map();
    this.targets = new Map();
    this.draw = program(gl, DRAW_SHADER, BLEND_SHADER);
    this.resolve = program(gl, COVER_SHADER, RESOLVE_SHADER);
    this.compare = program(gl, COVER_SHADER, DIFFERENCE_SHADER);
    this.projecting = gl.createVertexArray();
    this.drawing = gl.createVertexArray();
    this.empty = gl.createVertexArray();
    this.feedback = gl.createTransformFeedback();
  }

  /** The format in which pictures are blended; null: that of the canvas. */
  format(exact) {
    return exact ? this.floatFormat : this.halfFormat;
  }

  /** In what pictures are blended, in words. */
  get blending() {
    const format = this.format(this.wantsExact);
    return format === null ? "8 bits" : format === this.gl.RGBA32F ? "floats" : "half floats";
  }

  /** @param {import("../load/load.js").SceneHead} head */
  createScene(head) {
    const Kind = head.voxels ? WebGl2Voxels : WebGl2Scene;
    const scene = new Kind(this.gl, head, { onOrder: () => this.onChange(), turn: () => this.turn() });
    this.scenes.add(scene);
    return scene;
  }

  /**
   * Resolves when the GPU has done all it was given, for one caller after the other. Megabytes that are handed over while
   * it draws make the page's thread wait until it has drawn.
   */
  turn() {
    return this.turns.turn();
  }

  async settled() {
    const { gl } = this;
    // In a tab that nobody sees timers are slow, and nobody waits.
    if (this.lost || globalThis.document?.hidden) return;
    const sync = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    while (!this.lost && gl.getSyncParameter(sync, gl.SYNC_STATUS) === gl.UNSIGNALED) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    gl.deleteSync(sync);
  }

  removeScene(scene) {
    this.scenes.delete(scene);
    scene.dispose();
  }

  /** Asks for the order of each scene's splats as this camera sees them. */
  sort(scene, camera) {
    scene.sorter?.request(depthRow(camera)); // voxels have no order
  }

  /** Sorts a scene as this camera sees it, before it is shown for the first time. */
  async prepare(scene, camera) {
    if (!scene.sorter) return;
    const { order } = await scene.sorter.ask(depthRow(camera));
    scene.setOrder(order);
  }

  /**
   * Draws to the canvas, by the orders that are there.
   * @param {{scene: WebGl2Scene, from?: number, to?: number}[]} parts Scenes, each between two shares of the width.
   */
  frame(parts, camera) {
    const { gl } = this;
    if (this.lost) return;
    const { width, height } = camera;
    const format = this.format(this.wantsExact);
    if (format !== null) {
      const target = this.target(width, height, format);
      this.paint(parts, camera, target.frame, null);
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
      gl.viewport(0, 0, width, height);
      gl.disable(gl.BLEND);
      gl.useProgram(this.resolve.program);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, target.texture);
      gl.uniform1i(this.resolve.uniforms.picture, 0);
      gl.uniform3fv(this.resolve.uniforms.background, this.background);
      gl.bindVertexArray(this.empty);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    } else {
      this.paint(parts, camera, null, this.background);
    }
    gl.bindVertexArray(null);
  }

  /** Draws `gain` times the absolute difference of two scenes to the canvas, dark blue to yellow. */
  difference(first, second, camera, gain) {
    const { gl } = this;
    if (this.lost) return;
    const { width, height } = camera;
    const format = this.floatFormat ?? gl.RGBA8;
    const targets = ["a", "b"].map((name) => this.target(width, height, format, name));
    [first, second].forEach((scene, i) => this.paint([{ scene }], camera, targets[i].frame, null));
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
    gl.disable(gl.BLEND);
    gl.useProgram(this.compare.program);
    targets.forEach(({ texture }, i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    });
    gl.uniform1i(this.compare.uniforms.first, 0);
    gl.uniform1i(this.compare.uniforms.second, 1);
    gl.uniform3fv(this.compare.uniforms.background, this.background);
    gl.uniform1f(this.compare.uniforms.gain, gain);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindVertexArray(null);
  }

  /**
   * A picture of one scene, with a sort of its own.
   * @param {{camera: Camera, mode?: "exact"|"fast", float?: boolean}} options
   *   `float`: numbers before rounding, RGBA premultiplied without background.
   * @returns {Promise<Uint8ClampedArray|Float32Array>} RGBA, the top row first.
   */
  async capture(scene, { camera, mode = "exact", float = false }) {
    const { gl } = this;
    const { width, height } = camera;
    const limit = Math.min(gl.getParameter(gl.MAX_RENDERBUFFER_SIZE), gl.getParameter(gl.MAX_TEXTURE_SIZE));
    if (!(width >= 1 && height >= 1 && Math.max(width, height) <= limit)) throw new Error(`a picture of ${width} x ${height} is beyond this browser's ${limit} pixels a side`);
    const order = scene.sorter ? (await scene.sorter.ask(depthRow(camera))).order : null;
    if (this.lost) throw new Error("the graphics context was lost; try again in a moment");
    const blended = this.format(mode === "exact");
    const floats = blended !== null;
    const format = blended ?? gl.RGBA8;
    const target = this.target(width, height, format, "capture"); // may throw: no order is changed yet
    const shown = scene.order;
    if (order) scene.setOrder(order);
    this.paint([{ scene }], camera, target.frame, floats ? null : this.background);
    const numbers = floats ? new Float32Array(4 * width * height) : new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, floats ? gl.FLOAT : gl.UNSIGNED_BYTE, numbers);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.bindVertexArray(null);
    if (shown) scene.setOrder(shown);
    this.dropTarget(width, height, format, "capture");
    const rows = flipped(numbers, width, height);
    return float && floats ? rows : toBytes(rows, floats ? this.background : null);
  }

  /** Splats of the parts into a framebuffer; `background` null: transparent. */
  paint(parts, camera, frame, background) {
    const { gl } = this;
    const { width, height } = camera;
    for (const { scene } of parts) if (!scene.head.voxels) this.project(scene, camera);
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.viewport(0, 0, width, height);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(...(background ?? [0, 0, 0]), background ? 1 : 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    for (const { scene, from = 0, to = 1 } of parts) {
      if (!scene.drawn) continue;
      const [left, right] = [Math.round(from * width), Math.round(to * width)];
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(left, 0, Math.max(0, right - left), height);
      if (scene.head.voxels) {
        this.march(scene, camera);
        continue;
      }
      gl.useProgram(this.draw.program);
      gl.uniform2f(this.draw.uniforms.size, width, height);
      gl.bindVertexArray(this.drawing);
      gl.bindBuffer(gl.ARRAY_BUFFER, scene.projected);
      for (let i = 0; i < 4; i++) {
        gl.enableVertexAttribArray(i);
        gl.vertexAttribPointer(i, 4, gl.FLOAT, false, 64, 16 * i);
        gl.vertexAttribDivisor(i, 1);
      }
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, scene.drawn);
    }
    gl.disable(gl.SCISSOR_TEST);
    gl.disable(gl.BLEND);
  }

  /** Marches through a voxel field, a ray for each pixel of the framebuffer. */
  march(scene, camera) {
    const { gl } = this;
    const key = JSON.stringify(scene.kind);
    if (!this.programs.has(key)) this.programs.set(key, program(gl, COVER_SHADER, scene.shader));
    const chosen = this.programs.get(key);
    const { uniforms: u } = chosen;
    const m = camera.viewFromWorld;
    gl.useProgram(chosen.program);
    scene.bind(chosen);
    // The rows of camera from world are the columns of world from camera.
    gl.uniformMatrix3fv(u.rotation, false, [m[0], m[1], m[2], m[4], m[5], m[6], m[8], m[9], m[10]]);
    gl.uniform3fv(u.eye, eyeOf(m));
    gl.uniform4f(u.lens, camera.fx, camera.fy, camera.cx, camera.cy);
    gl.uniform1f(u.height, camera.height);
    const [low, high] = boxOf(scene);
    gl.uniform3fv(u.low, low);
    gl.uniform3fv(u.high, high);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** What is drawn of each splat, in drawing order, into scene.projected. */
  project(scene, camera) {
    const { gl } = this;
    if (!scene.drawn) return;
    const { program: chosen, uniforms: u } = this.projector(scene);
    const m = camera.viewFromWorld;
    gl.useProgram(chosen);
    gl.activeTexture(gl.TEXTURE0 + GEOMETRY_UNIT);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, scene.geometry);
    gl.uniform1i(u.geometry, GEOMETRY_UNIT);
    if (scene.sh) {
      gl.activeTexture(gl.TEXTURE0 + SH_UNIT);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, scene.sh);
      gl.uniform1i(u.sh, SH_UNIT);
      const steps = new Float32Array(6);
      steps.set(scene.shSteps);
      gl.uniform2fv(u.steps, steps);
    }
    // Columns: GLSL's matrices are column by column.
    gl.uniformMatrix3fv(u.rotation, false, [m[0], m[4], m[8], m[1], m[5], m[9], m[2], m[6], m[10]]);
    gl.uniform3f(u.translation, m[3], m[7], m[11]);
    gl.uniform3fv(u.eye, eyeOf(m));
    gl.uniform4f(u.lens, camera.fx, camera.fy, camera.cx, camera.cy);
    gl.uniform2f(u.size, camera.width, camera.height);
    gl.uniform2f(u.gain, scene.gain.logScale, scene.gain.opacity);
    gl.uniform1i(u.antialiased, scene.head.antialiased ? 1 : 0);
    gl.uniform1i(u.degree, scene.degree);
    const [low, high] = boxOf(scene);
    gl.uniform3fv(u.low, low);
    gl.uniform3fv(u.high, high);
    gl.bindVertexArray(this.projecting);
    gl.bindBuffer(gl.ARRAY_BUFFER, scene.indices);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribIPointer(0, 1, gl.UNSIGNED_INT, 4, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, null);
    gl.bindTransformFeedback(gl.TRANSFORM_FEEDBACK, this.feedback);
    gl.bindBufferBase(gl.TRANSFORM_FEEDBACK_BUFFER, 0, scene.projected);
    gl.enable(gl.RASTERIZER_DISCARD);
    gl.beginTransformFeedback(gl.POINTS);
    gl.drawArrays(gl.POINTS, 0, scene.drawn);
    gl.endTransformFeedback();
    gl.disable(gl.RASTERIZER_DISCARD);
    gl.bindBufferBase(gl.TRANSFORM_FEEDBACK_BUFFER, 0, null);
    gl.bindTransformFeedback(gl.TRANSFORM_FEEDBACK, null);
  }

  projector(scene) {
    const kind = { degree: scene.head.degree, integers: scene.integers, ycocg: scene.head.shSpace === "ycocg" };
    const key = JSON.stringify(kind);
    if (!this.programs.has(key)) this.programs.set(key, program(this.gl, projectShader(kind), NOTHING_SHADER, PROJECT_OUTPUTS));
    return this.programs.get(key);
  }

  target(width, height, format, name = "a") {
    const { gl } = this;
    const key = `${width} ${height} ${format} ${name}`;
    let target = this.targets.get(key);
    if (target) return target;
    if (this.targets.size > 2) [...this.targets.keys()].forEach((old) => old.startsWith(`${width} ${height} `) || this.dropTarget(...old.split(" ")));
    const texture = gl.createTexture();
    const frame = gl.createFramebuffer();
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) throw new Error(`the GPU has no room for a picture of ${width} x ${height}`);
    target = { texture, frame };
    this.targets.set(key, target);
    return target;
  }

  dropTarget(width, height, format, name = "a") {
    const key = `${width} ${height} ${format} ${name}`;
    const target = this.targets.get(key);
    if (!target) return;
    this.gl.deleteTexture(target.texture);
    this.gl.deleteFramebuffer(target.frame);
    this.targets.delete(key);
  }

  dispose() {
    [...this.scenes].forEach((scene) => this.removeScene(scene));
  }
}

/** z = row . (x, y, z, 1) */
export const depthRow = ({ viewFromWorld: m }) => [m[8], m[9], m[10], m[11]];

/** The corners of what is drawn of a scene. */
const boxOf = ({ box }) => (box ? [box.slice(0, 3), box.slice(3)] : [EVERYWHERE.map((x) => -x), EVERYWHERE]);

/** Centre of the camera in the world: -R^T t. */
export function eyeOf(m) {
  const t = [m[3], m[7], m[11]];
  return [0, 1, 2].map((a) => -(m[a] * t[0] + m[4 + a] * t[1] + m[8 + a] * t[2]));
}

function program(gl, vertex, fragment, outputs = null) {
  const made = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(`a shader does not compile: ${gl.getShaderInfoLog(shader)}`);
    gl.attachShader(made, shader);
  }
  if (outputs) gl.transformFeedbackVaryings(made, outputs, gl.INTERLEAVED_ATTRIBS);
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(`shaders do not link: ${gl.getProgramInfoLog(made)}`);
  const uniforms = {};
  const count = gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS) ?? 0;
  for (let i = 0; i < count; i++) {
    const name = gl.getActiveUniform(made, i).name;
    uniforms[name.replace("[0]", "")] = gl.getUniformLocation(made, name);
  }
  return { program: made, uniforms };
}

/** The rows of a picture from the top. */
function flipped(numbers, width, height) {
  const out = new numbers.constructor(numbers.length);
  for (let y = 0; y < height; y++) out.set(numbers.subarray(4 * width * y, 4 * width * (y + 1)), 4 * width * (height - 1 - y));
  return out;
}
