/** Splats by depth, the farthest first, as blending needs them; of equal ones the one with the higher index. */

const DIGIT = 11; // bits
const DIGITS = 1 << DIGIT;
const MASK = DIGITS - 1;

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
 * Sorts by whole float32 depths: a counting sort by 11 bits, then by 11, then by 10. Its counters stay in the nearest cache,
 * so three passes take a third of the time of two by 16 bits.
 * @returns {Uint32Array} A new array of `count` indices.
 */
export function sortByDepth(depths, indices, count) {
  const [keys, moved, otherKeys, otherMoved] = roomFor(count);
  // The bits of a positive float order like the number. Inverted, the farthest comes first.
  const bits = new Uint32Array(depths.buffer, depths.byteOffset, count);
  const starts = [0, 1, 2].map(() => new Uint32Array(DIGITS));
  const [low, middle, high] = starts;
  for (let i = 0; i < count; i++) {
    const key = ~bits[i];
    // From the highest index down, so that of equal depths the higher index comes first; all passes are stable.
    keys[count - 1 - i] = key;
    moved[count - 1 - i] = indices[i];
    low[key & MASK]++;
    middle[(key >>> DIGIT) & MASK]++;
    high[key >>> (2 * DIGIT)]++;
  }
  starts.forEach(accumulate);
  pass(keys, moved, otherKeys, otherMoved, count, 0, low);
  pass(otherKeys, otherMoved, keys, moved, count, DIGIT, middle);
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[high[keys[i] >>> (2 * DIGIT)]++] = moved[i];
  return order;
}

function pass(keys, values, sortedKeys, sortedValues, count, shift, starts) {
  for (let i = 0; i < count; i++) {
    const at = starts[(keys[i] >>> shift) & MASK]++;
    sortedKeys[at] = keys[i];
    sortedValues[at] = values[i];
  }
}

let room = [];

/** Four arrays of at least so many numbers, the same ones each time. */
function roomFor(count) {
  if (!(room[0]?.length >= count)) room = [0, 1, 2, 3].map(() => new Uint32Array(count));
  return room;
}

/** Counts to the places where each digit starts. */
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
