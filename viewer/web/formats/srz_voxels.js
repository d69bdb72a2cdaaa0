/** Kinds 4 and 5 of `.srz`: voxel fields; twin of scenerep/coding/voxels.py. */
import { CellDecoder, StreamError } from "../coding/cell.js";
import { decodeTable } from "../coding/conditional.js";
import { expand, rootValues, stages, UNITS } from "../coding/haar.js";
import { CodingError } from "../coding/range.js";
import { decodeRows } from "../coding/symbols.js";
import { KINDS } from "./srz_head.js";

const GRID_BYTES = 72;
const MOST_SIDE = 4096;
const CELL_SIZE = 65536;
const INTEGERS_PER_BYTE = 8; // a small file cannot ask for much memory
const SIZES = 8;
const DENSITIES = 8;
const CLASSES = SIZES * DENSITIES;
const NETWORK_STEP = 2 ** -10;
/** The shading network: inputs, two hidden layers, three colours (scenerep/voxels/shading.py). */
export const NETWORK = { inputs: 34, width: 16 };
const WEIGHTS = NETWORK.inputs * 16 + 16 + 16 * 16 + 16 + 16 * 3 + 3;

/**
 * @typedef {{size: number[], places: Int32Array, values: Float32Array, width: number}} VoxelLevel
 *   places [n][x y z]; values [n][width]: raw density, then raw colours.
 * @typedef {{size: number[], contracted: boolean, degree: number|null, step: number, box: number[], levels: VoxelLevel[],
 *   network: Float32Array|null, count: number}} VoxelField
 *   degree: of the SH; null: three colours and four features, and a network of 883 weights that shades.
 *
 * @param {import("./srz_chunked.js").ChunkedFile} content
 * @returns {VoxelField}
 * @throws {FormatError}
 */
export function readVoxels(content) {
  const grid = readGrid(content);
  const mip = content.kind === KINDS.mipVoxels;
  const count = mip ? grid.number : 1;
  const degree = mip ? null : grid.number;
  if (!mip && (degree !== content.degree || degree > 1)) throw content.fault("grid", "SH of the degree in the header, 0 or 1", String(degree), 7);
  if (mip && (count < 1 || count > 8 || grid.size.some((n) => (n - 1) % (1 << (count - 1))))) {
    throw content.fault("grid", "a size that can be halved for each level", `${count} levels of ${grid.size}`, 7);
  }
  const width = mip ? 8 : degree ? 13 : 4;
  const levels = [];
  for (let k = 0; k < count; k++) levels.push(readLevel(content, k, grid.size.map((n) => ((n - 1) >> k) + 1), width, grid.steps));
  const found = levels.reduce((sum, level) => sum + level.places.length / 3, 0);
  if (found !== content.count) throw content.fault("grid", `${content.count} voxels`, String(found));
  let network = null;
  if (mip) {
    const rows = rowsOf(content, "network", content.chunk("network"), WEIGHTS, 1);
    network = Float32Array.from(rows, (x) => x * NETWORK_STEP);
  }
  return { size: grid.size, contracted: grid.contracted, degree, step: grid.step, box: grid.box, levels, network, count: found };
}

function readGrid(content) {
  const bytes = content.chunk("grid");
  if (bytes.length !== GRID_BYTES) throw content.fault("grid", `${GRID_BYTES} bytes`, String(bytes.length));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const size = [0, 2, 4].map((at) => view.getUint16(at, true));
  if (Math.min(...size) < 2 || Math.max(...size) > MOST_SIDE || size[0] * size[1] * size[2] >= 2 ** 31) {
    throw content.fault("grid", `2 to ${MOST_SIDE} vertices a side, below 2^31`, `${size}`);
  }
  const [contracted, number] = [bytes[6], bytes[7]];
  const step = view.getFloat32(8, true);
  if (contracted > 1 || !(step >= 0.01 && step <= 16)) throw content.fault("grid", "a step of 0.01 to 16 voxels", String(step), 6);
  const box = Array.from({ length: 6 }, (_, i) => view.getFloat64(12 + 8 * i, true));
  if (!box.every((x) => Math.abs(x) < 1e9) || ![0, 1, 2].every((a) => box[3 + a] - box[a] > 1e-9)) {
    throw content.fault("grid", "two corners, the lower one first", `${box}`, 12);
  }
  const steps = [60, 64, 68].map((at) => view.getFloat32(at, true));
  if (!steps.every((s) => s >= 2 ** -40 && s <= 2 ** 20)) throw content.fault("grid", "positive steps", `${steps}`, 60);
  return { size, contracted: contracted === 1, number, step, box, steps };
}

/** Runs a decoder; what is wrong with its stream is told as a fault of the chunk. */
function sound(content, name, at, decode) {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof CodingError) && !(error instanceof StreamError)) throw error;
    throw content.fault(name, "a sound stream", error.message, at);
  }
}

function rowsOf(content, name, stream, n, width) {
  if (n * width > INTEGERS_PER_BYTE * stream.length) throw content.fault(name, `${n} rows of ${width} integers`, `${stream.length} bytes`);
  return sound(content, name, 0, () => decodeRows(stream, n, width));
}

/** @returns {VoxelLevel} */
function readLevel(content, k, size, width, steps) {
  const depth = Math.max(1, 32 - Math.clz32(Math.max(...size) - 1));
  const places = readPlaces(content, `${k}.places`, size, depth);
  const n = places.length / 3;
  const codes = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    codes[i] = mortonCode(places[3 * i], places[3 * i + 1], places[3 * i + 2]);
    if (i && codes[i] <= codes[i - 1]) throw content.fault(`${k}.places`, "vertices in ascending order", "others");
  }
  const tree = stages(codes, 3 * depth);
  const values = new Float32Array(n * width);
  const groups = [["density", 0, 1], ["colour", 1, 4], ["detail", 4, width]].filter(([, begin, end]) => end > begin);
  let dense = null;
  groups.forEach(([name, begin, end], g) => {
    const unit = steps[g] / UNITS;
    const { found, parents } = readGroup(content, `${k}.${name}`, end - begin, tree, dense, n, steps[0]);
    dense ??= parents;
    for (let i = 0; i < n; i++) for (let c = begin; c < end; c++) values[i * width + c] = found[i * (end - begin) + c - begin] * unit;
  });
  return { size, places, values, width };
}

/** Interleaved bits, x above y above z: up to 36 of them, so in parts. */
function mortonCode(x, y, z) {
  return spread(x >> 6, y >> 6, z >> 6) * 2 ** 18 + spread(x & 63, y & 63, z & 63);
}

function spread(x, y, z) {
  let code = 0;
  for (let bit = 5; bit >= 0; bit--) code = (code << 3) | (((x >> bit) & 1) << 2) | (((y >> bit) & 1) << 1) | ((z >> bit) & 1);
  return code;
}

function readPlaces(content, name, size, depth) {
  const bytes = content.chunk(name);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts = [];
  let total = 0;
  for (let at = 0; at < bytes.length; ) {
    if (at + 8 > bytes.length) throw content.fault(name, "a cell", `${bytes.length - at} bytes`, at);
    const [count, length] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    total += count;
    if (count < 1 || count > CELL_SIZE || at + 8 + length > bytes.length || total > content.count) {
      throw content.fault(name, `a cell of 1 to ${CELL_SIZE} vertices within the chunk`, `${count}, ${length}`, at);
    }
    const decoder = new CellDecoder(depth, 0, count);
    sound(content, name, at + 8, () => decoder.push([bytes.subarray(at + 8, at + 8 + length)], count, 0));
    parts.push(decoder.cell);
    at += 8 + length;
  }
  const places = new Int32Array(3 * total);
  let to = 0;
  for (const { x, y, z, count } of parts) {
    for (let i = 0; i < count; i++) {
      places[to++] = x[i];
      places[to++] = y[i];
      places[to++] = z[i];
    }
  }
  for (let i = 0; i < places.length; i++) if (places[i] >= size[i % 3]) throw content.fault(name, `vertices within ${size}`, String(places[i]));
  return places;
}

/** Values [n, columns] in units, and the densities of the parents of each stage, coarse to fine. */
function readGroup(content, name, columns, tree, dense, n, densityStep) {
  const pieces = piecesOf(content, name);
  const half = Math.floor(2 / (densityStep / UNITS)) || 1; // two of the raw density
  const parents = [];
  let values = rootValues(rowsOf(content, name, pieces.next().value, n ? 1 : 0, columns));
  let sizes = null; // bit lengths of the coefficients of each node of the stage to come
  for (let number = tree.length - 1; number >= 0; number--) {
    const stage = tree[number];
    const nodes = stage.first.length;
    const own = new Float64Array(nodes);
    for (let p = 0; p < nodes; p++) own[p] = values[p * columns];
    parents.push(own);
    const of = dense ? dense[parents.length - 1] : own;
    let pairs = 0;
    for (let p = 0; p < nodes; p++) pairs += stage.paired[p];
    const classes = new Int32Array(pairs * columns);
    for (let p = 0, at = 0; p < nodes; p++) {
      if (!stage.paired[p]) continue;
      const level = Math.min(Math.max(Math.floor((of[p] + 2 * half) / half), 0), DENSITIES - 1);
      classes.fill((sizes ? sizes[p] : 0) * DENSITIES + level, at, at + columns);
      at += columns;
    }
    const stream = pieces.next().value;
    const q = sound(content, name, 0, () => decodeTable(stream, classes, columns, CLASSES, 1));
    const next = new Uint8Array(stage.nodes);
    for (let p = 0, pair = 0; p < nodes; p++) {
      let size = sizes ? sizes[p] : 0;
      if (stage.paired[p]) {
        let sum = 0;
        for (let c = 0; c < columns; c++) sum += Math.abs(q[pair * columns + c]);
        // ceil(log2(sum + 1)) is the bit length of the sum.
        size = Math.min(32 - Math.clz32(sum), SIZES - 1);
        pair++;
        next[stage.first[p] + 1] = size;
      }
      next[stage.first[p]] = size;
    }
    sizes = next;
    values = expand(stage, number, values, q, columns);
  }
  return { found: values, parents };
}

/** The pieces of a chunk: u32 bytes, then that many. */
function* piecesOf(content, name) {
  const bytes = content.chunk(name);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; ; ) {
    if (at + 4 > bytes.length) throw content.fault(name, "another stage", `${bytes.length - at} bytes`, at);
    const length = view.getUint32(at, true);
    if (at + 4 + length > bytes.length) throw content.fault(name, `${length} bytes of a stage`, String(bytes.length - at - 4), at);
    yield bytes.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
}
