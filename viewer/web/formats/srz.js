/** `.srz` of kind 1: streams to integers, integers to splats; twin of scenerep/coding/scene_codec.py and quantised.py. */
import { CellDecoder, StreamError } from "../coding/cell.js";
import { BASE } from "../coding/attributes.js";
import { FormatError } from "../errors.js";
import { coefficients, SH_C0 } from "./common.js";
import { crc32 } from "./crc32.js";
import { COPY, readHead, STREAMS } from "./srz_head.js";

const LOWEST_OPACITY = 1 / 1024;
const MOST_SH = 32767;
const FARTHEST = 80; // exp(80) radii are far beyond any scene; a broken file must not overflow

/**
 * How many layers of a file are there in full: all, or, of a file that was cut off, those before the first that is not.
 * @param {number} size Bytes of the file.
 * @throws {FormatError} Not even one is, or something follows the last.
 */
export function completeLayers(head, size, file) {
  for (const chunk of head.chunks) {
    if (chunk.end <= size) continue;
    if (chunk.layer === head.chunks[0].layer) throw new FormatError(file, "at least one whole layer", `the end of the file at byte ${size}`, size);
    return chunk.layer;
  }
  const end = head.chunks.at(-1)?.end ?? size;
  if (end !== size) throw new FormatError(file, "the end of the file", `${size - end} more bytes`, size);
  return head.layers;
}

/**
 * All splats of a whole file.
 * @returns {{head: object, layers: number, spans: {decoder: SrzCell, chunk: object, begin: number, end: number}[]}}
 *   `spans`: the splats in coded order, as stretches of their cells.
 * @throws {FormatError}
 */
export function decodeSplats(bytes, file) {
  const head = readHead(bytes, file);
  const layers = completeLayers(head, bytes.length, file);
  const chunks = head.chunks.filter((chunk) => chunk.layer < layers);
  const cells = new Map();
  for (const chunk of chunks) cells.set(chunk.cell, [...(cells.get(chunk.cell) ?? []), chunk]);
  const decoders = new Map([...cells].map(([cell, own]) => [cell, new SrzCell(head, own, file)]));
  const spans = chunks.map((chunk) => {
    const decoder = decoders.get(chunk.cell);
    return { decoder, chunk, ...decoder.push(chunk, bytes.subarray(chunk.offset, chunk.end)) };
  });
  return { head, layers, spans };
}

/** The cell of a file, layer after layer. */
export class SrzCell {
  /** @param {object[]} chunks Those of the cell, by layer. */
  constructor(head, chunks, file) {
    this.head = head;
    this.file = file;
    this.decoder = new CellDecoder(head.depth, head.degree, chunks.reduce((sum, chunk) => sum + chunk.count, 0));
  }

  /**
   * Decodes the next chunk.
   * @param {Uint8Array} bytes From the chunk's first byte to the end of its last wanted stream.
   * @param {number} degree SH bands above are left out.
   * @returns {{begin: number, end: number}} Its splats in `this.decoder.cell`.
   * @throws {FormatError}
   */
  push(chunk, bytes, degree = this.head.degree) {
    const kept = 4 + Math.min(degree, this.head.degree);
    const streams = [];
    let at = 0;
    for (let i = 0; i < kept; i++) {
      const stream = bytes.subarray(at, at + chunk.lengths[i]);
      if (stream.length < chunk.lengths[i]) {
        throw new FormatError(this.file, `${chunk.lengths[i]} bytes of a ${STREAMS[i]} stream`, String(stream.length), chunk.offset + at, "the file may be cut off");
      }
      if (crc32(stream) !== chunk.checksums[i]) {
        throw new FormatError(this.file, `the right checksum of a ${STREAMS[i]} stream`, "another", chunk.offset + at, COPY);
      }
      streams.push(stream);
      at += chunk.lengths[i];
    }
    try {
      return this.decoder.push(streams, chunk.count, chunk.layer);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      const place = chunk.offset + chunk.lengths.slice(0, error.stream).reduce((a, b) => a + b, 0);
      throw new FormatError(this.file, `a sound ${STREAMS[error.stream]} stream`, error.message, place, COPY);
    }
  }

  /**
   * Splats begin .. end as numbers, rounded once to float32. SH stays in integers, those beyond 16 bits at their end.
   */
  splats(begin, end) {
    return dequantise(this.head, this.decoder.cell, begin, end);
  }
}

function dequantise(head, cell, begin, end) {
  const n = end - begin;
  const { steps, origin, centre, radius } = head;
  const v = cell.values;
  const out = {
    count: n,
    means: new Float32Array(3 * n),
    logScales: new Float32Array(3 * n),
    quats: new Float32Array(4 * n),
    opacities: new Float32Array(n),
    colours: new Float32Array(3 * n),
    sh: null,
    shSteps: head.shSteps,
  };
  [cell.x, cell.y, cell.z].forEach((places, a) => {
    for (let k = 0; k < n; k++) out.means[3 * k + a] = expand(origin[a] + places[begin + k] * steps.position, centre[a], radius);
  });
  for (let k = 0; k < n; k++) {
    const i = begin + k;
    for (let a = 0; a < 3; a++) out.logScales[3 * k + a] = v[a][i] * steps.logScale;
    const [gx, gy, gz] = [v[3][i] * steps.rotation, v[4][i] * steps.rotation, v[5][i] * steps.rotation];
    const s = (gx * gx + gy * gy + gz * gz) / 4;
    out.quats[4 * k] = (1 - s) / (1 + s);
    out.quats[4 * k + 1] = gx / (1 + s);
    out.quats[4 * k + 2] = gy / (1 + s);
    out.quats[4 * k + 3] = gz / (1 + s);
    out.opacities[k] = Math.min(Math.max(v[6][i] * steps.opacity, LOWEST_OPACITY), 1 - LOWEST_OPACITY);
    const [y, co, cg] = [v[7][i] * steps.luma, v[8][i] * steps.chroma, v[9][i] * steps.chroma];
    const t = y - cg / 2;
    // Through the float32 coefficient, as elsewhere.
    out.colours[3 * k] = 0.5 + SH_C0 * Math.fround((t + co / 2) / SH_C0);
    out.colours[3 * k + 1] = 0.5 + SH_C0 * Math.fround((y + cg / 2) / SH_C0);
    out.colours[3 * k + 2] = 0.5 + SH_C0 * Math.fround((t - co / 2) / SH_C0);
  }
  const width = 3 * coefficients(head.degree);
  if (width) {
    out.sh = new Int16Array(width * n);
    for (let c = 0; c < width; c++) {
      const column = v[BASE + c];
      for (let k = 0; k < n; k++) out.sh[width * k + c] = Math.max(-MOST_SH, Math.min(MOST_SH, column[begin + k]));
    }
  }
  return out;
}

function expand(place, centre, radius) {
  if (!radius) return place;
  const ratio = Math.abs(place) / radius;
  return centre + (ratio > 1 ? Math.sign(place) * radius * Math.exp(Math.min(ratio - 1, FARTHEST)) : place);
}
