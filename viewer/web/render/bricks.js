/**
 * A voxel field as textures for the march in the fragment shader (webgl2_voxels.js): bricks of 9 x 9 x 9 vertices around
 * blocks of 8 x 8 x 8 cells, which share their outer vertices, so that the GPU can interpolate within one. Blocks without a
 * cell that is marched through have no brick.
 */
export const BLOCK = 8;
export const SIDE = BLOCK + 1;
const OPTICAL = 64; // as in scenerep/voxels/space.py and pyramid.py
export const SHIFT = -7.2;
const DENSE = 5e-3;
const NEAR = 0.15;
const PREVIEW = 20000;
const MOST_BRICKS = 1 << 17;

/**
 * @typedef {{size: number[], blocks: number[], tables: Uint32Array, starts: number[], bricks: number, textures: Uint16Array[],
 *   cells: Uint8Array, tiles: number}} Bricks
 *   tables: for each level, from starts[k] on, the number of each block's brick plus one (x fastest); 0 is none. Behind those
 *   of the levels, at starts[levels], the tiles of cells of level 0. textures: halves [bricks][9^3][4] of each four channels.
 *   cells: [tiles][8^3], 1 where a cell is marched through.
 *
 * @param {import("../formats/srz_voxels.js").VoxelField} field
 * @returns {Bricks & {space: object, preview: object}}
 */
export function buildBricks(field) {
  const space = spaceOf(field);
  const open = openCells(field, space.least);
  const table = new Table(field);
  const cells = tilesOf(open, table, field);
  const bricks = levelsOf(field, open, table);
  return { ...bricks, ...cells, size: field.size, tables: table.entries, starts: table.starts, blocks: table.blocks.flat(), space, preview: previewOf(field, space) };
}

/** What of the space the march needs, as pyramid.make_marcher computes it. */
function spaceOf({ size, box, contracted, step }) {
  const extent = contracted ? 2 : 1;
  const centre = [0, 1, 2].map((a) => (box[a] + box[3 + a]) / 2);
  const half = [0, 1, 2].map((a) => (box[3 + a] - box[a]) / 2);
  const voxel = Math.min(...size.map((n, a) => (2 * extent * half[a]) / (n - 1)));
  const inner = Math.min(...size.map((n) => (2 * extent) / (n - 1)));
  const density = -Math.log1p(-DENSE) / (OPTICAL * inner);
  const least = (density < 1 ? Math.log(density) : density - 1) - SHIFT;
  return { centre, half, extent, voxel, inner, least, step: step * voxel, tau: step * OPTICAL * inner, near: NEAR * Math.min(...half) };
}

/** Where the blocks of all levels, and of the cells, stand in one table. */
class Table {
  constructor({ levels }) {
    this.blocks = levels.map(({ size }) => size.map((n) => Math.ceil((n - 1) / BLOCK)));
    this.starts = [];
    let at = 0;
    for (const [x, y, z] of [...this.blocks, this.blocks[0]]) {
      this.starts.push(at);
      at += x * y * z;
    }
    this.entries = new Uint32Array(at);
  }

  index(k, x, y, z) {
    const [nx, ny] = this.blocks[k % this.blocks.length];
    return this.starts[k] + (z * ny + y) * nx + x;
  }
}

/** Blocks of level 0 that have a cell to march through: a cell with a dense vertex, in any level. Keys: x, y, z in one number. */
function openCells({ levels, size }, least) {
  const open = new Map();
  const mark = (x, y, z) => {
    const key = ((z >> 3) * 1024 + (y >> 3)) * 1024 + (x >> 3);
    let tile = open.get(key);
    if (!tile) {
      if (open.size === MOST_BRICKS) throw new Error(`the field has more than the ${MOST_BRICKS} blocks that the page draws`);
      open.set(key, (tile = new Uint8Array(512)));
    }
    tile[((z & 7) * 8 + (y & 7)) * 8 + (x & 7)] = 1;
  };
  levels.forEach(({ places, values, width, size: own }, k) => {
    const known = new Set(); // cells of a coarse level stand for many, and are marked once
    for (let i = 0; i < places.length / 3; i++) {
      if (values[i * width] < least) continue;
      for (let corner = 0; corner < 8; corner++) {
        const [x, y, z] = [places[3 * i] - (corner & 1), places[3 * i + 1] - ((corner >> 1) & 1), places[3 * i + 2] - (corner >> 2)];
        if (x < 0 || y < 0 || z < 0 || x > own[0] - 2 || y > own[1] - 2 || z > own[2] - 2) continue;
        const cell = (z * own[1] + y) * own[0] + x;
        if (known.has(cell)) continue;
        known.add(cell);
        const [X, Y, Z] = [Math.min((x + 1) << k, size[0] - 1), Math.min((y + 1) << k, size[1] - 1), Math.min((z + 1) << k, size[2] - 1)];
        for (let c = z << k; c < Z; c++) for (let b = y << k; b < Y; b++) for (let a = x << k; a < X; a++) mark(a, b, c);
      }
    }
  });
  return open;
}

const placeOf = (key) => [key % 1024, Math.floor(key / 1024) % 1024, Math.floor(key / (1024 * 1024))];

function tilesOf(open, table, { levels }) {
  const cells = new Uint8Array(512 * Math.max(1, open.size));
  let tiles = 0;
  for (const [key, tile] of open) {
    cells.set(tile, 512 * tiles);
    table.entries[table.index(levels.length, ...placeOf(key))] = ++tiles;
  }
  return { cells, tiles };
}

/** Bricks of every level over the open cells. */
function levelsOf({ levels }, open, table) {
  let bricks = 0;
  for (let k = 0; k < levels.length; k++) {
    for (const key of open.keys()) {
      const at = table.index(k, ...placeOf(key).map((n) => n >> k));
      if (!table.entries[at]) table.entries[at] = ++bricks;
    }
  }
  if (bricks > MOST_BRICKS) throw new Error(`the field has ${bricks} blocks, more than the page draws (${MOST_BRICKS})`);
  const count = Math.ceil(levels[0].width / 4);
  const textures = Array.from({ length: count }, () => new Uint16Array(4 * SIDE ** 3 * Math.max(1, bricks)));
  levels.forEach(({ places, values, width }, k) => {
    const most = table.blocks[k];
    for (let i = 0; i < places.length / 3; i++) {
      const p = places.subarray(3 * i, 3 * i + 3);
      // A vertex between blocks belongs to all of them: up to eight.
      for (let side = 0; side < 8; side++) {
        const back = [side & 1, (side >> 1) & 1, side >> 2];
        const block = [0, 1, 2].map((a) => (p[a] >> 3) - back[a]);
        if ([0, 1, 2].some((a) => block[a] < 0 || block[a] >= most[a] || (back[a] && p[a] & 7))) continue;
        const brick = table.entries[table.index(k, ...block)];
        if (!brick) continue;
        const [x, y, z] = [0, 1, 2].map((a) => p[a] - BLOCK * block[a]);
        const at = 4 * ((brick - 1) * SIDE ** 3 + (z * SIDE + y) * SIDE + x);
        for (let c = 0; c < width; c++) textures[c >> 2][at + (c & 3)] = half(values[i * width + c]);
      }
    }
  });
  return { bricks, textures };
}

const floats = new Float32Array(1);
const bits = new Uint32Array(floats.buffer);

/** A number as half a float, rounded to the nearest; what is too large becomes the largest. */
export function half(value) {
  floats[0] = value;
  const sign = (bits[0] >>> 16) & 0x8000;
  const size = Math.abs(floats[0]);
  if (!(size < 65520)) return sign | 0x7bff;
  if (size < 2 ** -14) return sign | Math.round(size * 2 ** 24);
  return sign | (((bits[0] & 0x7fffffff) - 0x38000000 + 0xfff + ((bits[0] >>> 13) & 1)) >>> 13);
}

const density = (raw) => (raw + SHIFT < 0 ? Math.exp(raw + SHIFT) : 1 + raw + SHIFT);
const logistic = (x) => 1 / (1 + Math.exp(-x));

/** Some opaque vertices as round splats: where the scene is, for what asks for its middle and for what one points at. */
function previewOf({ levels: [level], degree, contracted, size, box }, { centre, half: sides, extent, voxel, inner }) {
  const { places, values, width } = level;
  const chosen = [];
  for (const inside of contracted ? [true, false] : [false]) {
    for (let i = 0; i < places.length / 3; i++) {
      const hidden = 1 - Math.exp(-density(values[i * width]) * OPTICAL * inner);
      const u = [0, 1, 2].map((a) => (places[3 * i + a] / (size[a] - 1)) * 2 * extent - extent);
      if (hidden > 0.5 && (!inside || u.every((x) => Math.abs(x) <= 1))) chosen.push([i, hidden, u]);
    }
    if (chosen.length) break;
  }
  const step = Math.ceil(chosen.length / PREVIEW) || 1;
  const some = chosen.filter((_, i) => i % step === 0);
  const n = some.length;
  const out = { count: n, means: new Float32Array(3 * n), logScales: new Float32Array(3 * n), quats: new Float32Array(4 * n), opacities: new Float32Array(n), colours: new Float32Array(3 * n), sh: null };
  const scale = degree === null ? 1 : 0.28209479177387814;
  some.forEach(([i, hidden, u], to) => {
    const m = Math.max(...u.map(Math.abs));
    const stretch = contracted && m > 1 ? 1 / Math.max(2 - m, 1e-3) / m : 1;
    for (let a = 0; a < 3; a++) {
      out.means[3 * to + a] = u[a] * stretch * sides[a] + centre[a];
      out.logScales[3 * to + a] = Math.log(voxel * step ** (1 / 3));
      out.colours[3 * to + a] = logistic(scale * values[i * width + 1 + a]);
    }
    out.quats[4 * to] = 1;
    out.opacities[to] = hidden;
  });
  return out;
}
