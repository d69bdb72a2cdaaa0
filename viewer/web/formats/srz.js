/** `.srz` of kind 1: streams to integers, integers to splats; twin of scenerep/coding/scene_codec.py and quantised.py. */
import { CellDecoder, StreamError } from "../coding/cell.js";
import { FormatError } from "../errors.js";
import { crc32 } from "./crc32.js";
import { COPY, readHead, STREAMS } from "./srz_head.js";
import { dequantise, integerSh } from "./srz_values.js";

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
    const { head } = this;
    const { cell } = this.decoder;
    return { ...dequantise(head, cell, begin, end), sh: integerSh(head, cell, begin, end), shSteps: head.shSteps };
  }
}
