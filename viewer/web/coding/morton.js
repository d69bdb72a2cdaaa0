/** Order along the Morton curve. Bit 3 i + 2 of a code is bit i of x, 3 i + 1 of y, 3 i of z. */

const DIGIT = 3; // bits of each axis in a pass
const PASSES = 7; // 21 bits of each axis
const SPREAD = [0, 1, 8, 9, 64, 65, 72, 73];

/**
 * Indices 0 .. n - 1 sorted by the code of (x + shift, y + shift, z + shift), equal ones by index.
 * @returns {Int32Array}
 */
export function mortonOrder(x, y, z, n, shift = 0) {
  let order = Int32Array.from({ length: n }, (_, i) => i);
  let other = new Int32Array(n);
  const digits = new Uint16Array(n);
  const starts = new Int32Array(1 << (3 * DIGIT));
  for (let pass = 0; pass < PASSES; pass++) {
    const s = DIGIT * pass;
    starts.fill(0);
    for (let i = 0; i < n; i++) {
      const d = (SPREAD[((x[i] + shift) >> s) & 7] << 2) | (SPREAD[((y[i] + shift) >> s) & 7] << 1) | SPREAD[((z[i] + shift) >> s) & 7];
      digits[i] = d;
      starts[d]++;
    }
    for (let d = 0, sum = 0; d < starts.length; d++) {
      const count = starts[d];
      starts[d] = sum;
      sum += count;
    }
    for (let i = 0; i < n; i++) other[starts[digits[order[i]]]++] = order[i];
    [order, other] = [other, order];
  }
  return order;
}
