/** A Haar transform over occupied vertices, coarse to fine; twin of scenerep/coding/haar_tree.py. */

export const UNITS = 64;
const SIZES = [91, 64, 45, 32, 23, 16, 11, 8, 6];
const LAST = 4;
const ROOT = 4;

/**
 * The stages of ascending distinct Morton codes, finest first. `first`: the lower node of each parent; `paired`: whether it
 * has two; `nodes`: before the stage.
 * @param {Float64Array} codes Whole numbers below 2^(bits).
 */
export function stages(codes, bits) {
  const found = [];
  for (let s = 0; s < bits; s++) {
    const parents = new Float64Array(codes.length);
    const first = new Int32Array(codes.length);
    const paired = new Uint8Array(codes.length);
    let count = 0;
    for (let i = 0; i < codes.length; i++) {
      const parent = Math.floor(codes[i] / 2);
      if (count && parents[count - 1] === parent) paired[count - 1] = 1;
      else {
        parents[count] = parent;
        first[count++] = i;
      }
    }
    found.push({ nodes: codes.length, first: first.subarray(0, count), paired: paired.subarray(0, count) });
    codes = parents.subarray(0, count);
  }
  return found;
}

/** Values of the single node from the coded ones. */
export const rootValues = (root) => Float64Array.from(root, (x) => ROOT * x);

/**
 * Values of a stage's nodes from those of its parents.
 * @param {Float64Array} values [parents, columns] in units.
 * @param {Int32Array} q Coefficients [pairs, columns].
 */
export function expand(stage, number, values, q, columns) {
  const size = number < SIZES.length ? SIZES[number] : LAST;
  const children = new Float64Array(stage.nodes * columns);
  let pair = 0;
  for (let p = 0; p < stage.first.length; p++) {
    const at = stage.first[p] * columns;
    for (let c = 0; c < columns; c++) {
      const value = values[p * columns + c];
      if (!stage.paired[p]) {
        children[at + c] = value;
        continue;
      }
      const difference = q[pair * columns + c] * size;
      const upper = value + Math.floor((difference + 1) / 2);
      children[at + c] = upper;
      children[at + columns + c] = upper - difference;
    }
    pair += stage.paired[p];
  }
  return children;
}
