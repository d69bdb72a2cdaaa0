/** What the scenes of both renderers have in common: settings, the chunks that are kept, numbers of a splat. */
import { coefficients } from "../formats/common.js";

const NO_GAIN = { logScale: 0, opacity: 1 };

/** `allocate()` makes what holds `head.count` splats on the GPU; `upload(chunk, first)` puts a chunk there. */
export class Scene {
  /** @param {import("../load/load.js").SceneHead} head */
  constructor(head) {
    this.head = head;
    this.count = 0;
    this.gain = NO_GAIN;
    this.degree = head.degree;
    this.box = null; // [x, y, z, X, Y, Z]: only what lies within is drawn
    this.chunks = []; // kept for a GPU that is lost, and for picking
    this.shSteps = null;
  }

  /** Whether SH is stored in integers. */
  get integers() {
    return this.head.shType !== "float32";
  }

  /** Numbers of SH a splat. */
  get shWidth() {
    return 3 * coefficients(this.head.degree);
  }

  /** Adds a chunk of splats. */
  append(chunk) {
    this.upload(chunk, this.count);
    this.chunks.push(chunk);
    this.count += chunk.count;
    if (chunk.shSteps) this.shSteps = chunk.shSteps;
  }

  /** After a lost GPU: everything once more. */
  restore() {
    this.allocate();
    let first = 0;
    for (const chunk of this.chunks) {
      this.upload(chunk, first);
      first += chunk.count;
    }
  }

  dispose() {
    this.chunks = [];
  }
}

/** SH of a chunk, `width` numbers a splat, in rows of `padded`. */
export function paddedSh({ sh, count }, width, padded) {
  if (width === padded) return sh;
  const out = new sh.constructor(padded * count);
  for (let i = 0; i < count; i++) for (let j = 0; j < width; j++) out[padded * i + j] = sh[width * i + j];
  return out;
}

/** Four texels a splat: place and opacity; quaternion; log scales; colour. */
export function geometryOf(chunk) {
  const geometry = new Float32Array(16 * chunk.count);
  for (let i = 0; i < chunk.count; i++) {
    const at = 16 * i;
    for (let a = 0; a < 3; a++) {
      geometry[at + a] = chunk.means[3 * i + a];
      geometry[at + 8 + a] = chunk.logScales[3 * i + a];
      geometry[at + 12 + a] = chunk.colours[3 * i + a];
    }
    geometry[at + 3] = chunk.opacities[i];
    for (let a = 0; a < 4; a++) geometry[at + 4 + a] = chunk.quats[4 * i + a];
  }
  return geometry;
}

/** Opacity times area of the largest cross-section: what a splat may cover. */
export function importance(chunk) {
  const out = new Float32Array(chunk.count);
  for (let i = 0; i < chunk.count; i++) {
    const [a, b, c] = [chunk.logScales[3 * i], chunk.logScales[3 * i + 1], chunk.logScales[3 * i + 2]];
    out[i] = chunk.opacities[i] * Math.exp(Math.max(-60, Math.min(60, a + b + c - Math.min(a, b, c))));
  }
  return out;
}
