/** Integers of a cell to the numbers of splats, rounded once to float32; twin of `dequantise` in scenerep/coding/quantised.py. */
import { BASE } from "../coding/attributes.js";
import { coefficients, colourOfDc, emptySplats, SH_C0 } from "./common.js";

const LOWEST_OPACITY = 1 / 1024;
const FARTHEST = 80; // exp(80) radii are far beyond any scene; a broken file must not overflow
const MOST_SH = 32767;

/** Splats begin .. end of a cell, without SH. */
export function dequantise(head, cell, begin, end) {
  const n = end - begin;
  const { steps, origin, centre, radius } = head;
  const v = cell.values;
  const out = emptySplats(n);
  [cell.x, cell.y, cell.z].forEach((places, a) => {
    for (let k = 0; k < n; k++) out.means[3 * k + a] = expand(origin[a] + places[begin + k] * steps.position, centre[a], radius);
  });
  for (let k = 0; k < n; k++) {
    const i = begin + k;
    for (let a = 0; a < 3; a++) out.logScales[3 * k + a] = v[a][i] * steps.logScale;
    writeRotation(out.quats, k, v[3][i] * steps.rotation, v[4][i] * steps.rotation, v[5][i] * steps.rotation);
    out.opacities[k] = Math.min(Math.max(v[6][i] * steps.opacity, LOWEST_OPACITY), 1 - LOWEST_OPACITY);
    writeRgb(rgb, 0, v[7][i] * steps.luma, v[8][i] * steps.chroma, v[9][i] * steps.chroma);
    for (let c = 0; c < 3; c++) out.colours[3 * k + c] = colourOfDc(rgb[c] / SH_C0);
    hideUnlessFinite(out, k);
  }
  return out;
}

/** A broken file may have steps that lead beyond float32: what is not finite must not reach the renderer. */
function hideUnlessFinite(splats, k) {
  for (const name of ["means", "logScales", "quats", "colours"]) {
    const array = splats[name];
    const width = name === "quats" ? 4 : 3;
    let sum = 0; // NaN unless all are finite
    for (let j = width * k; j < width * (k + 1); j++) sum += array[j] * 0;
    if (sum === 0) continue;
    array.fill(0, width * k, width * (k + 1));
    if (name === "quats") array[4 * k] = 1;
    splats.opacities[k] = 0;
  }
}

/** SH of splats begin .. end as integers [n][k][3] in Y Co Cg; those beyond 16 bits are put to their end. Null for degree 0. */
export function integerSh(head, cell, begin, end) {
  const width = 3 * coefficients(head.degree);
  if (!width) return null;
  const sh = new Int16Array(width * (end - begin));
  for (let c = 0; c < width; c++) {
    const column = cell.values[BASE + c];
    for (let i = begin, at = c; i < end; i++, at += width) sh[at] = Math.max(-MOST_SH, Math.min(MOST_SH, column[i]));
  }
  return sh;
}

/** SH of splats begin .. end as float32 [n][k][3] in RGB, of any degree: what the file has not is 0. */
export function floatSh(head, cell, begin, end, degree) {
  const width = 3 * coefficients(degree);
  const sh = new Float32Array(width * (end - begin));
  for (let band = 1, j = 0; band <= Math.min(degree, head.degree); band++) {
    const [luma, chroma] = head.shSteps.subarray(2 * band - 2, 2 * band);
    for (; j < coefficients(band); j++) {
      const [y, co, cg] = cell.values.slice(BASE + 3 * j, BASE + 3 * j + 3);
      for (let i = begin, at = 3 * j; i < end; i++, at += width) writeRgb(sh, at, y[i] * luma, co[i] * chroma, cg[i] * chroma);
    }
  }
  return sh;
}

/** Writes the quaternion of a rotation vector 2 v / (1 + w). */
export function writeRotation(quats, k, x, y, z) {
  const s = (x * x + y * y + z * z) / 4;
  quats[4 * k] = (1 - s) / (1 + s);
  quats[4 * k + 1] = x / (1 + s);
  quats[4 * k + 2] = y / (1 + s);
  quats[4 * k + 3] = z / (1 + s);
}

const rgb = new Float64Array(3);

/** Writes red, green, blue of luma and chromas. */
export function writeRgb(out, at, y, co, cg) {
  const t = y - cg / 2;
  out[at] = t + co / 2;
  out[at + 1] = y + cg / 2;
  out[at + 2] = t - co / 2;
}

/** A place in the space of the grid, along one axis, to the world. */
export function expand(place, centre, radius) {
  if (!radius) return place;
  const ratio = Math.abs(place) / radius;
  return centre + (ratio > 1 ? Math.sign(place) * radius * Math.exp(Math.min(ratio - 1, FARTHEST)) : place);
}
