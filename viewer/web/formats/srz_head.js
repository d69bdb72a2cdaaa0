/** The head of `.srz` files (docs/formats/srz.md); twin of scenerep/coding/container.py. */
import { FormatError } from "../errors.js";
import { crc32 } from "./crc32.js";

export const MAGIC = Uint8Array.of(0x89, 0x53, 0x52, 0x5a, 0x0d, 0x0a, 0x1a, 0x0a);
export const HEADER = 88;
export const KINDS = { splats: 1, codebooks: 2, anchors: 3, voxels: 4, mipVoxels: 5 };
const FIELD = 6; // a coordinate network, which the page does not draw
export const STREAMS = ["geometry", "shape", "opacity", "colour", "sh1", "sh2", "sh3"];
export const VERSION = 3;
const MOST_LAYERS = 16;
const MOST_DEPTH = 20;
const CELL_SIZE = 65536;
const SPLATS_PER_BYTE = 8; // a small file cannot ask for much memory
const MOST_HEAD = 64 << 20;
const SMALLEST_STEP = 2 ** -100;
export const COPY = "get a fresh copy of the file";

export const isSrz = (bytes) => MAGIC.every((b, i) => bytes[i] === b);

/**
 * Kind and length of the head, from the first 32 bytes.
 * @throws {FormatError}
 */
export function readStart(bytes, file) {
  if (!isSrz(bytes)) throw new FormatError(file, "an .srz file", "other bytes", 0);
  if (bytes.length < 32) throw new FormatError(file, "a header of 32 bytes", String(bytes.length), bytes.length, COPY);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint16(8, true);
  if (version !== VERSION) {
    const hint = version > VERSION ? "update the viewer: the file is newer" : "compress the scene again: the file is older";
    throw new FormatError(file, `version ${VERSION}`, String(version), 8, hint);
  }
  const kind = view.getUint16(10, true);
  if (!Object.values(KINDS).includes(kind)) {
    const hint = kind === FIELD ? "`scenerep export` makes a picture or a mesh of a network" : "update the viewer: the file is newer";
    throw new FormatError(file, "kind 1 to 5", String(kind), 10, hint);
  }
  const length = view.getUint32(12, true);
  if (length > MOST_HEAD) throw new FormatError(file, `a head of at most ${MOST_HEAD} bytes`, String(length), 12);
  return { kind, length };
}

/**
 * The head of a file of kind 1, checked.
 * @param {Uint8Array} bytes At least the whole head.
 * @throws {FormatError}
 */
export function readHead(bytes, file) {
  const { kind, length } = readStart(bytes, file);
  if (kind !== KINDS.splats) throw new FormatError(file, "kind 1 (splats)", String(kind), 10);
  if (bytes.length < HEADER) throw new FormatError(file, `a header of ${HEADER} bytes`, String(bytes.length), bytes.length, COPY);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [textLength, count, chunkCount] = [16, 20, 24].map((at) => view.getUint32(at, true));
  const [layers, degree, depth, flags] = bytes.subarray(28, 32);
  if (degree > 3) throw new FormatError(file, "SH degree 0 to 3", String(degree), 29);
  const streams = 4 + degree;
  const floats = 6 + 2 * degree + (flags & 4 ? 2 * layers : 0);
  const entry = 40 + 8 * streams;
  const expected = HEADER + 4 * floats + textLength + entry * chunkCount + 4;
  if (length !== expected) throw new FormatError(file, `a head of ${expected} bytes by its parts`, String(length), 12);
  if (length > bytes.length) throw new FormatError(file, `${length} bytes of head`, String(bytes.length), bytes.length, COPY);
  checkSum(bytes, length, file);
  if (layers < 1 || layers > MOST_LAYERS) throw new FormatError(file, `1 to ${MOST_LAYERS} layers`, String(layers), 28);
  if (depth < 1 || depth > MOST_DEPTH) throw new FormatError(file, `an octree depth of 1 to ${MOST_DEPTH}`, String(depth), 30);
  if (flags & ~7 || view.getUint32(84, true)) throw new FormatError(file, "unused bits to be zero", `flags ${flags}`, 31);

  const f64 = (at) => view.getFloat64(at, true);
  const f32 = (i) => view.getFloat32(HEADER + 4 * i, true);
  const origin = [32, 40, 48].map(f64);
  const centre = [56, 64, 72].map(f64);
  const radius = view.getFloat32(80, true);
  const steps = Array.from({ length: 6 + 2 * degree }, (_, i) => f32(i));
  const usable = (step) => Number.isFinite(step) && step >= SMALLEST_STEP;
  if (![...origin, ...centre].every(Number.isFinite) || !steps.every(usable) || (radius !== 0 && !usable(radius))) {
    throw new FormatError(file, "a usable quantiser", "steps that are no positive numbers", 32);
  }
  const gains = [];
  for (let i = 6 + 2 * degree; i < floats; i += 2) gains.push({ logScale: f32(i), opacity: f32(i + 1) });
  if (gains.some((g) => !Number.isFinite(g.logScale) || !Number.isFinite(g.opacity))) {
    throw new FormatError(file, "finite gains", "others", HEADER + 4 * (6 + 2 * degree));
  }
  const text = HEADER + 4 * floats;
  const chunks = readTable(view, text + textLength, chunkCount, streams, length, file);
  checkTable(chunks, count, layers, depth, text + textLength, entry, file);
  return {
    kind,
    version: VERSION,
    length,
    count,
    layers,
    degree,
    depth,
    antialiased: (flags & 1) === 1,
    origin,
    centre,
    radius,
    steps: { position: steps[0], logScale: steps[1], rotation: steps[2], opacity: steps[3], luma: steps[4], chroma: steps[5] },
    shSteps: Float32Array.from(steps.slice(6)),
    gains,
    metadata: readMetadata(bytes.subarray(text, text + textLength), text, file),
    chunks,
  };
}

/** Throws unless the last four bytes of the head are its checksum. */
export function checkSum(bytes, length, file) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (length < 36 || crc32(bytes.subarray(0, length - 4)) !== view.getUint32(length - 4, true)) {
    throw new FormatError(file, "a head with the right checksum", "another", Math.max(0, length - 4), COPY);
  }
}

export function readMetadata(bytes, offset, file) {
  let metadata;
  try {
    metadata = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new FormatError(file, "metadata in JSON", String(error.message), offset);
  }
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    throw new FormatError(file, "metadata to be a JSON object", "something else", offset);
  }
  return metadata;
}

function readTable(view, start, count, streams, first, file) {
  const chunks = [];
  let [at, next] = [start, first];
  for (let i = 0; i < count; i++) {
    const box = Array.from({ length: 6 }, (_, j) => view.getUint32(at + 8 + 4 * j, true));
    const offset = Number(view.getBigUint64(at + 32, true));
    if (view.getUint8(at + 7) || offset !== next) throw new FormatError(file, `a chunk at byte ${next}`, String(offset), at);
    const lengths = [];
    const checksums = [];
    for (let j = 0; j < streams; j++) {
      lengths.push(view.getUint32(at + 40 + 8 * j, true));
      checksums.push(view.getUint32(at + 44 + 8 * j, true));
      next += lengths[j];
    }
    chunks.push({ count: view.getUint32(at, true), cell: view.getUint16(at + 4, true), layer: view.getUint8(at + 6), box, offset, end: next, lengths, checksums });
    at += 40 + 8 * streams;
  }
  return chunks;
}

function checkTable(chunks, count, layers, depth, table, entry, file) {
  let [layer, cell] = [0, -1];
  const perCell = new Map();
  let sum = 0;
  chunks.forEach((chunk, i) => {
    const at = table + entry * i;
    if (chunk.count < 1 || chunk.count > Math.min(CELL_SIZE, SPLATS_PER_BYTE * (chunk.end - chunk.offset))) {
      throw new FormatError(file, `1 to ${CELL_SIZE} Gaussians that fit into the chunk`, String(chunk.count), at);
    }
    if (chunk.layer < layer || (chunk.layer === layer && chunk.cell <= cell) || chunk.layer >= layers) {
      throw new FormatError(file, "chunks by ascending layer and cell", `${chunk.layer}, ${chunk.cell}`, at + 4);
    }
    [layer, cell] = [chunk.layer, chunk.cell];
    for (let a = 0; a < 3; a++) {
      if (chunk.box[a] > chunk.box[a + 3] || chunk.box[a + 3] >= 2 ** depth) throw new FormatError(file, "a bounding box on the grid", chunk.box.join(" "), at + 8);
    }
    perCell.set(cell, (perCell.get(cell) ?? 0) + chunk.count);
    sum += chunk.count;
  });
  if (sum !== count) throw new FormatError(file, `${count} Gaussians in all chunks`, String(sum), 20);
  const most = [...perCell.values()].reduce((a, b) => Math.max(a, b), 0);
  if (most > CELL_SIZE) throw new FormatError(file, `cells of at most ${CELL_SIZE} Gaussians in all layers`, String(most), table);
}
