/** `.srz` files of other kinds than plain splats: metadata and named chunks; twin of scenerep/coding/chunked.py. */
import { FormatError } from "../errors.js";
import { crc32 } from "./crc32.js";
import { checkSum, COPY, KINDS, readMetadata, readStart } from "./srz_head.js";

const HEADER = 32;
const ROW = 32;
const MOST_CHUNKS = 4096;
const NAME = /^[a-z0-9][a-z0-9._-]{0,15}$/;

/** What stands in a file: `count` splats once it is decoded, and bytes by name in the order of the file. */
export class ChunkedFile {
  /**
   * Nothing is allocated by what the file says.
   * @param {Uint8Array} bytes The whole file.
   * @param {string} file Its name, for errors.
   * @throws {FormatError}
   */
  constructor(bytes, file) {
    const { kind, length } = readStart(bytes, file);
    if (kind === KINDS.splats) throw new FormatError(file, "kind 2 to 5", String(kind), 10);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const [textLength, count, chunkCount] = [16, 20, 24].map((at) => view.getUint32(at, true));
    const [layers, degree, zero, flags] = bytes.subarray(28, 32);
    const expected = HEADER + textLength + ROW * chunkCount + 4;
    if (length !== expected || chunkCount > MOST_CHUNKS) throw new FormatError(file, `a head of ${expected} bytes by its parts`, String(length), 12);
    if (length > bytes.length) throw new FormatError(file, `${length} bytes of head`, String(bytes.length), bytes.length, COPY);
    checkSum(bytes, length, file);
    if (layers !== 1 || degree > 3 || zero || flags & ~1) {
      throw new FormatError(file, "one layer, SH degree 0 to 3, unused bits zero", `${[layers, degree, zero, flags]}`, 28);
    }
    Object.assign(this, { kind, count, degree, file, headLength: length, antialiased: flags === 1 });
    this.metadata = readMetadata(bytes.subarray(HEADER, HEADER + textLength), HEADER, file);
    /** @type {Map<string, Uint8Array>} */
    this.chunks = new Map();
    /** @type {Map<string, number>} Byte of the file at which each chunk starts. */
    this.offsets = new Map();
    this.readTable(bytes, view, HEADER + textLength, chunkCount);
  }

  readTable(bytes, view, table, count) {
    const { file } = this;
    let end = this.headLength;
    for (let at = table; at < table + ROW * count; at += ROW) {
      const name = String.fromCharCode(...bytes.subarray(at, at + 16)).replace(/\0+$/, "");
      const offset = Number(view.getBigUint64(at + 16, true));
      const size = view.getUint32(at + 24, true);
      if (!NAME.test(name) || this.chunks.has(name)) throw new FormatError(file, "chunks with names of their own", JSON.stringify(name), at);
      if (offset !== end || end + size > bytes.length) {
        throw new FormatError(file, `a chunk at byte ${end} within ${bytes.length} bytes`, `${offset}, ${size} long`, at);
      }
      const chunk = bytes.subarray(offset, offset + size);
      if (crc32(chunk) !== view.getUint32(at + 28, true)) throw new FormatError(file, `the right checksum of chunk '${name}'`, "another", offset, COPY);
      this.chunks.set(name, chunk);
      this.offsets.set(name, offset);
      end += size;
    }
    if (end !== bytes.length) throw new FormatError(file, "the end of the file", `${bytes.length - end} more bytes`, end);
  }

  /** @throws {FormatError} There is no chunk of this name. */
  chunk(name) {
    const chunk = this.chunks.get(name);
    if (!chunk) throw new FormatError(this.file, `a chunk '${name}'`, [...this.chunks.keys()].join(", ") || "none", this.headLength, COPY);
    return chunk;
  }

  /** The error to throw when what stands `at` bytes into a chunk is not what it has to be. */
  fault(name, expected, found, at = 0) {
    return new FormatError(this.file, expected, found, (this.offsets.get(name) ?? 0) + at, COPY);
  }
}
