/** Positions as an octree, breadth first; twin of scenerep/coding/reference/octree.py. */
import { IntegerModel } from "./integer.js";
import { Mixer } from "./models.js";
import { mortonOrder } from "./morton.js";
import { CodingError } from "./range.js";

/** Models of the octree; they live as long as a cell. */
export class OctreeModels {
  constructor() {
    this.single = new Mixer([8 * 4, 7 * 21, 4 * 8 * 3], 4);
    this.child = new Mixer([256 * 7, 27 * 4 * 8, 4 * 3 * 9, 21 * 8], 8);
    this.count = new IntegerModel([1]);
  }
}

/** Nodes of one level, in Morton order, found by their place. */
class Level {
  constructor(most) {
    this.x = new Int32Array(most);
    this.y = new Int32Array(most);
    this.z = new Int32Array(most);
    this.lowerBegin = new Int32Array(most); // its points of the layers known already
    this.lowerEnd = new Int32Array(most);
    this.siblings = new Uint8Array(most); // occupied children of the parent
    this.multiple = new Uint8Array(most); // known to hold two points or more
    let size = 64;
    while (size < 2 * most) size *= 2;
    this.table = new Int32Array(size);
    this.count = 0;
  }

  clear() {
    this.table.fill(0);
    this.count = 0;
  }

  place(x, y, z) {
    let h = Math.imul(x, 0x9e3779b1) ^ Math.imul(y, 0x85ebca77) ^ Math.imul(z, 0xc2b2ae3d);
    h ^= h >>> 15;
    return (Math.imul(h, 0x2c1b3c6d) >>> 8) & (this.table.length - 1);
  }

  has(x, y, z) {
    for (let at = this.place(x, y, z); ; at = (at + 1) & (this.table.length - 1)) {
      const i = this.table[at] - 1;
      if (i < 0) return false;
      if (this.x[i] === x && this.y[i] === y && this.z[i] === z) return true;
    }
  }

  add(x, y, z, lowerBegin, lowerEnd, siblings, multiple) {
    const i = this.count;
    if (i >= this.x.length) throw new CodingError("more nodes than points");
    this.count++;
    this.x[i] = x;
    this.y[i] = y;
    this.z[i] = z;
    this.lowerBegin[i] = lowerBegin;
    this.lowerEnd[i] = lowerEnd;
    this.siblings[i] = siblings;
    this.multiple[i] = multiple;
    let at = this.place(x, y, z);
    while (this.table[at]) at = (at + 1) & (this.table.length - 1);
    this.table[at] = i + 1;
  }
}

/**
 * Decodes the points of one chunk.
 * @param {{x: Int32Array, y: Int32Array, z: Int32Array, count: number}} lower Points of lower layers in Morton order.
 * @param {number} count Points of the chunk.
 * @returns {{x: Int32Array, y: Int32Array, z: Int32Array}} In Morton order.
 * @throws {CodingError}
 */
export function decodeOctree(decoder, models, depth, lower, count) {
  const found = { x: new Int32Array(count), y: new Int32Array(count), z: new Int32Array(count), count: 0 };
  if (count === 0) return found;
  // Eight more than points: a node may add its children before the count is looked at.
  let [here, below] = [new Level(count + 8), new Level(count + 8)];
  here.add(0, 0, 0, 0, lower.count, 1, count > 1 ? 1 : 0);
  for (let level = 0; level <= depth; level++) {
    below.clear();
    for (let i = 0; i < here.count; i++) decodeNode(decoder, models, depth, level, lower, here, i, below, found, count);
    [here, below] = [below, here];
  }
  if (found.count !== count) throw new CodingError("fewer points than announced");
  const order = mortonOrder(found.x, found.y, found.z, count);
  const sorted = (axis) => Int32Array.from(order, (i) => axis[i]);
  return { x: sorted(found.x), y: sorted(found.y), z: sorted(found.z) };
}

const faceX = new Int32Array(6);
const faceY = new Int32Array(6);
const faceZ = new Int32Array(6);
const faceHere = new Uint8Array(6);
const childLower = new Int32Array(9);

function keep(found, x, y, z, times, count) {
  if (found.count + times > count) throw new CodingError("more points than announced");
  found.x.fill(x, found.count, found.count + times);
  found.y.fill(y, found.count, found.count + times);
  found.z.fill(z, found.count, found.count + times);
  found.count += times;
}

function decodeNode(decoder, models, depth, level, lower, here, i, below, found, count) {
  const [x, y, z] = [here.x[i], here.y[i], here.z[i]];
  const side = 1 << level;
  let faces = 0;
  for (let f = 0; f < 6; f++) {
    const step = f & 1 ? 1 : -1;
    const nx = f < 2 ? x + step : x;
    const ny = f === 2 || f === 3 ? y + step : y;
    const nz = f > 3 ? z + step : z;
    const inside = nx >= 0 && ny >= 0 && nz >= 0 && nx < side && ny < side && nz < side;
    faceX[f] = nx;
    faceY[f] = ny;
    faceZ[f] = nz;
    faceHere[f] = inside && here.has(nx, ny, nz) ? 1 : 0;
    faces += faceHere[f];
  }
  const siblings = here.siblings[i];
  const known = Math.min(here.lowerEnd[i] - here.lowerBegin[i], 3);
  if (!here.multiple[i]) {
    const mixer = models.single;
    mixer.set(0, (siblings - 1) * 4 + known);
    mixer.set(1, faces * 21 + level);
    mixer.set(2, (known * 8 + siblings - 1) * 3 + (faces > 2 ? 2 : faces > 0 ? 1 : 0));
    if (mixer.code(decoder, known)) {
      let [px, py, pz] = [x, y, z];
      for (let left = depth - level; left > 0; ) {
        const take = Math.min(left, 2); // levels at once
        const bits = decoder.raw(3 * take);
        for (let t = take - 1; t >= 0; t--) {
          const c = (bits >> (3 * t)) & 7;
          px = (px << 1) | (c >> 2);
          py = (py << 1) | ((c >> 1) & 1);
          pz = (pz << 1) | (c & 1);
        }
        left -= take;
      }
      keep(found, px, py, pz, 1, count);
      return;
    }
  }
  if (level === depth) {
    models.count.set(0, 0);
    const more = models.count.code(decoder);
    if (more < 0) throw new CodingError("a negative count");
    keep(found, x, y, z, more + 2, count);
    return;
  }
  const occupied = decodeChildren(decoder, models, depth, level, lower, here, i, below, faces, known);
  let children = 0;
  for (let c = 0; c < 8; c++) children += (occupied >> c) & 1;
  for (let c = 0; c < 8; c++) {
    if (!((occupied >> c) & 1)) continue;
    const [cx, cy, cz] = [2 * x + (c >> 2), 2 * y + ((c >> 1) & 1), 2 * z + (c & 1)];
    below.add(cx, cy, cz, childLower[c], childLower[c + 1], children, children === 1 ? 1 : 0);
  }
  if (below.count > count) throw new CodingError("more nodes than points");
}

/** Bits of the occupied children; leaves the ranges of their lower points in `childLower`. */
function decodeChildren(decoder, models, depth, level, lower, here, i, below, faces, known) {
  const mixer = models.child;
  const s = depth - level - 1;
  let occupied = 0;
  let coded = 0;
  let at = here.lowerBegin[i];
  childLower[0] = at;
  for (let c = 0; c < 8; c++) {
    const begin = at;
    while (at < here.lowerEnd[i] && ((((lower.x[at] >> s) & 1) << 2) | (((lower.y[at] >> s) & 1) << 1) | ((lower.z[at] >> s) & 1)) <= c) at++;
    childLower[c + 1] = at;
    let bit = 1; // the last one, and none before
    if (c < 7 || occupied) {
      // What touches the child from outside: 0 nothing, 1 perhaps something, 2 something.
      let outside = 0;
      let inside = 0;
      for (let axis = 0; axis < 3; axis++) {
        const mask = 4 >> axis;
        const high = c & mask ? 1 : 0;
        const f = 2 * axis + high;
        let state = 0;
        if (faceHere[f]) {
          const k = c | mask;
          const touching = !high && below.has(2 * faceX[f] + (k >> 2), 2 * faceY[f] + ((k >> 1) & 1), 2 * faceZ[f] + (k & 1));
          state = touching ? 2 : 1;
        }
        outside = 3 * outside + state;
        if (high) inside += (occupied >> (c ^ mask)) & 1;
      }
      mixer.set(0, (occupied | (1 << c)) * 7 + faces);
      mixer.set(1, (outside * 4 + inside) * 8 + c);
      mixer.set(2, (known * 3 + Math.min(at - begin, 2)) * 9 + coded);
      mixer.set(3, level * 8 + coded);
      bit = mixer.code(decoder, c);
    }
    if (bit) {
      occupied |= 1 << c;
      coded++;
    }
  }
  return occupied;
}
