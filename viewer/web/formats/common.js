/** What the readers share: bounds, quaternions without their largest component, axes, repair. n = splats. */
import { FormatError } from "../errors.js";

export const SH_C0 = 0.28209479177387814;
const FREE_BYTES = 64 << 20;
const MAX_EXPANSION = 100; // splats compress 2 to 20 times; a header that asks for more is hostile
const FINITE = 30; // stands for an infinite logit or log scale
const OPACITY_MARGIN = 1e-6;

/** Coefficients of a channel beyond the first, for SH degree 0 to 3. */
export const coefficients = (degree) => (degree + 1) ** 2 - 1;

/** Arrays of zeros for so many splats; `sh` as floats, null for degree 0. */
export function emptySplats(count, degree = 0) {
  const k = coefficients(degree);
  return {
    count,
    means: new Float32Array(3 * count),
    logScales: new Float32Array(3 * count),
    quats: new Float32Array(4 * count),
    opacities: new Float32Array(count),
    colours: new Float32Array(3 * count),
    sh: k ? new Float32Array(3 * k * count) : null,
  };
}

/** Throws unless `size` bytes stand at `offset`. */
export function requireBytes(bytes, offset, size, what, file) {
  const left = Math.max(0, bytes.length - offset);
  if (size > left) throw new FormatError(file, `${size} bytes for ${what}`, `${left} bytes left`, offset, "the file may be cut off");
}

/** Throws if `encoded` bytes claim to unpack to more than a scene can hold. */
export function checkExpansion(decoded, encoded, file, offset = 0) {
  const allowed = FREE_BYTES + MAX_EXPANSION * encoded;
  if (decoded > allowed) {
    throw new FormatError(file, `at most ${allowed} bytes out of ${encoded} packed ones`, `a header that asks for ${decoded}`, offset);
  }
}

/** Opacity of a byte, kept off 0 and 1 as the trainer's logits are. */
export const opacityOfByte = (b) => Math.min(Math.max(b / 255, OPACITY_MARGIN), 1 - OPACITY_MARGIN);

export const sigmoid = (x) => 0.5 + 0.5 * Math.tanh(0.5 * x);

/** Base colour, 0.5 + C0 f_dc, from a coefficient that is rounded to float32 first, as it is elsewhere. */
export const colourOfDc = (dc) => 0.5 + SH_C0 * Math.fround(dc);

/** Writes quaternion `i`: component `largest` from the other three, in the order of the components. */
export function fromSmallestThree(quats, i, largest, a, b, c) {
  const others = [a, b, c];
  const w = Math.sqrt(Math.max(0, 1 - a * a - b * b - c * c));
  for (let k = 0, at = 0; k < 4; k++) quats[4 * i + k] = k === largest ? w : others[at++];
}

/** Variables that occur an odd number of times in each SH basis function, by coefficient beyond the first. */
const ODD = ["y", "z", "x", "xy", "yz", "", "xz", "", "y", "xyz", "y", "z", "x", "z", "x"];

/** Flips world axes in place; `flips` = +-1 for x, y, z. SH may be integers. */
export function flipAxes(scene, flips) {
  const [x, y, z] = flips;
  const turn = x * y * z;
  const { means, quats, sh, count } = scene;
  for (let i = 0; i < count; i++) {
    for (let a = 0; a < 3; a++) {
      means[3 * i + a] = means[3 * i + a] * flips[a] + 0; // + 0 turns -0 into 0
      quats[4 * i + 1 + a] *= turn * flips[a];
    }
  }
  if (!sh) return;
  const k = coefficients(scene.degree);
  const signs = ODD.slice(0, k).map((odd) => [...odd].reduce((sign, v) => sign * { x, y, z }[v], 1));
  for (let i = 0, at = 0; i < count; i++) {
    for (let j = 0; j < k; j++, at += 3) {
      if (signs[j] < 0) {
        sh[at] = -sh[at];
        sh[at + 1] = -sh[at + 1];
        sh[at + 2] = -sh[at + 2];
      }
    }
  }
}

/**
 * The scene with what is not finite repaired or left out: infinite log scales become +-30, rows with any other such
 * number or a zero quaternion are dropped. Typed arrays are shortened, not copied, when nothing is dropped.
 */
export function finite(scene) {
  const { count, means, logScales, quats, opacities, colours, sh } = scene;
  const k = sh ? 3 * coefficients(scene.degree) : 0;
  const floats = sh instanceof Float32Array;
  let kept = 0;
  const good = (array, from, size) => {
    for (let j = from; j < from + size; j++) if (!Number.isFinite(array[j])) return false;
    return true;
  };
  const move = (array, from, to, size) => {
    if (from !== to) array.copyWithin(to * size, from * size, (from + 1) * size);
  };
  for (let i = 0; i < count; i++) {
    for (let j = 3 * i; j < 3 * i + 3; j++) {
      if (logScales[j] === Infinity || logScales[j] === -Infinity) logScales[j] = Math.sign(logScales[j]) * FINITE;
    }
    const q = 4 * i;
    if (!(quats[q] || quats[q + 1] || quats[q + 2] || quats[q + 3])) continue;
    if (!(good(means, 3 * i, 3) && good(logScales, 3 * i, 3) && good(quats, q, 4) && good(opacities, i, 1) && good(colours, 3 * i, 3))) continue;
    if (floats && !good(sh, k * i, k)) continue;
    move(means, i, kept, 3);
    move(logScales, i, kept, 3);
    move(quats, i, kept, 4);
    move(opacities, i, kept, 1);
    move(colours, i, kept, 3);
    if (sh) move(sh, i, kept, k);
    kept++;
  }
  return {
    ...scene,
    count: kept,
    means: means.subarray(0, 3 * kept),
    logScales: logScales.subarray(0, 3 * kept),
    quats: quats.subarray(0, 4 * kept),
    opacities: opacities.subarray(0, kept),
    colours: colours.subarray(0, 3 * kept),
    sh: sh ? sh.subarray(0, k * kept) : null,
  };
}

/**
 * The first `size` decompressed bytes, or all if they are fewer.
 * @param {boolean} whole Go on to the end of the stream, which compares its checksum, and passes over up to 64 MiB more.
 * @throws {FormatError} The stream is broken.
 */
export async function inflate(bytes, format, size, file, offset = 0, whole = false) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  const out = new Uint8Array(size);
  let at = 0;
  try {
    while (at < size || (whole && at < size + FREE_BYTES)) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at < size) out.set(value.subarray(0, size - at), at);
      at += value.length;
    }
  } catch (error) {
    throw new FormatError(file, `a ${format} stream`, String(error.message || error), offset);
  } finally {
    reader.cancel().catch(() => {});
  }
  return out.subarray(0, at);
}
