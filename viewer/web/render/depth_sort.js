/** Splats by depth, the farthest first, as blending needs them; of equal ones the one with the higher index. */

const COARSE_BINS = 65536;

/**
 * Depths along the camera's z axis, of those within `near` .. `far`.
 * @param {Float32Array} means [3n] in the world.
 * @param {number[]} row Third row of `view from world`: z = row . (x, y, z, 1).
 * @param {Uint32Array|null} active Indices to look at; null: all n.
 * @returns {{depths: Float32Array, indices: Uint32Array, count: number}}
 */
export function depthsOf(means, n, row, near, far, active, scratch) {
  const [a, b, c, d] = row;
  const { depths, indices } = scratch;
  const total = active ? active.length : n;
  let count = 0;
  for (let k = 0; k < total; k++) {
    const i = active ? active[k] : k;
    const z = Math.fround(a * means[3 * i] + b * means[3 * i + 1] + c * means[3 * i + 2] + d);
    if (!(z >= near && z <= far)) continue;
    depths[count] = z;
    indices[count++] = i;
  }
  return count;
}

/**
 * Sorts by whole float32 depths: two passes over 16 bits each.
 * @returns {Uint32Array} A new array of `count` indices.
 */
export function sortExact(depths, indices, count) {
  // The bits of a positive float order like the number. Inverted, the farthest comes first.
  const keys = new Uint32Array(depths.buffer, depths.byteOffset, count);
  const first = new Uint32Array(count);
  const order = new Uint32Array(count);
  const starts = new Uint32Array(65536);
  // From the highest index down, so that of equal depths the higher index comes first; both passes are stable.
  for (let i = 0; i < count; i++) starts[~keys[i] & 0xffff]++;
  accumulate(starts);
  for (let i = count - 1; i >= 0; i--) first[starts[~keys[i] & 0xffff]++] = i;
  starts.fill(0);
  for (let i = 0; i < count; i++) starts[~keys[i] >>> 16]++;
  accumulate(starts);
  for (let k = 0; k < count; k++) {
    const i = first[k];
    order[starts[~keys[i] >>> 16]++] = indices[i];
  }
  return order;
}

/** Sorts by 65,536 equal bins between the nearest and the farthest: faster, and wrong where splats lie close. */
export function sortCoarse(depths, indices, count) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < count; i++) {
    const z = depths[i];
    if (z < low) low = z;
    if (z > high) high = z;
  }
  const scale = high > low ? (COARSE_BINS - 1) / (high - low) : 0;
  const bins = new Uint16Array(count);
  const starts = new Uint32Array(COARSE_BINS);
  for (let i = 0; i < count; i++) starts[(bins[i] = ((high - depths[i]) * scale) | 0)]++;
  accumulate(starts);
  const order = new Uint32Array(count);
  for (let i = count - 1; i >= 0; i--) order[starts[bins[i]]++] = indices[i];
  return order;
}

/** Counts to the places where each bin starts. */
function accumulate(starts) {
  let sum = 0;
  for (let b = 0; b < starts.length; b++) {
    const here = starts[b];
    starts[b] = sum;
    sum += here;
  }
}

/** The `most` indices of largest importance, ascending; null if that is all of them. */
export function mostImportant(importance, n, most) {
  if (most >= n) return null;
  // Importance is positive: its bits order like the number. The highest 16 bits decide, ties by index.
  const keys = new Uint32Array(importance.buffer, importance.byteOffset, n);
  const counts = new Uint32Array(65536);
  for (let i = 0; i < n; i++) counts[keys[i] >>> 16]++;
  let bin = 65535;
  let above = 0;
  while (bin > 0 && above + counts[bin] <= most) above += counts[bin--];
  let ties = most - above;
  const chosen = new Uint32Array(most);
  let at = 0;
  for (let i = 0; i < n && at < most; i++) {
    const key = keys[i] >>> 16;
    if (key > bin || (key === bin && ties-- > 0)) chosen[at++] = i;
  }
  return chosen.subarray(0, at);
}
