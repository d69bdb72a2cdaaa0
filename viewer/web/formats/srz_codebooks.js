/** Kind 2 of `.srz`: some attributes as indices into codebooks; twin of scenerep/coding/codebook_splats.py. */
import { CodingError } from "../coding/range.js";
import { decodeRows, decodeSymbols } from "../coding/symbols.js";
import { FormatError } from "../errors.js";
import { coefficients, colourOfDc, emptySplats } from "./common.js";
import { decodeSplats } from "./srz.js";
import { dequantise, floatSh } from "./srz_values.js";

/** What a codebook may stand for: first SH coefficient (null: none), integers of a codeword. */
const ATTRIBUTES = new Map([
  ["scale", { first: null, width: 3 }],
  ["rotation", { first: null, width: 4 }],
  ["dc", { first: 0, width: 3 }],
  ["sh1", { first: 1, width: 9 }],
  ["sh2", { first: 4, width: 15 }],
  ["sh3", { first: 9, width: 21 }],
  ["colour2", { first: 0, width: 27 }],
]);
const MOST_PARTS = 8;
const MOST_SYMBOLS = 65536;
const BOOK_HEAD = 12;
const INTEGERS_PER_BYTE = 8; // a small file cannot ask for much memory
const [SMALLEST_STEP, LARGEST_STEP] = [2 ** -100, 2 ** 30];

/**
 * The integers of a file: for each part its splats (`decodeSplats`) and codebooks.
 * @param {import("./srz_chunked.js").ChunkedFile} content
 * @returns {{splats: object, count: number, books: {attribute: string, step: number, rows: Int32Array, indices: Int32Array}[]}[]}
 * @throws {FormatError}
 */
export function decodeParts(content) {
  const numbers = [...new Set([...content.chunks.keys()].map((name) => name.split(".")[0]))].sort();
  if (numbers.length === 0 || numbers.length > MOST_PARTS || numbers.some((number, i) => number !== String(i))) {
    throw new FormatError(content.file, `up to ${MOST_PARTS} parts, numbered from 0`, numbers.join(", ") || "none", content.headLength);
  }
  const parts = numbers.map((number) => {
    const splats = nested(content, `${number}.splats`);
    const count = splats.spans.reduce((sum, { begin, end }) => sum + end - begin, 0);
    const books = attributes(content, number).map((attribute) => codebook(content, number, attribute, count));
    return { splats, count, books };
  });
  const total = parts.reduce((sum, part) => sum + part.count, 0);
  if (total !== content.count) throw new FormatError(content.file, `${content.count} Gaussians`, String(total), 20);
  return parts;
}

/** A whole file of kind 1 in a chunk; its errors tell the place in the file around it. */
function nested(content, name) {
  const chunk = content.chunk(name);
  let splats;
  try {
    splats = decodeSplats(chunk, content.file);
  } catch (error) {
    if (!(error instanceof FormatError) || error.offset === null) throw error;
    throw new FormatError(content.file, error.expected, error.found, content.offsets.get(name) + error.offset, error.hint);
  }
  if (splats.head.layers !== 1 || splats.head.degree > content.degree) {
    throw content.fault(name, "one layer, SH degrees of the file", `${splats.head.layers} layers, degree ${splats.head.degree}`);
  }
  return splats;
}

/** Those with a codebook, in the order of the file; every chunk of the part is accounted for. */
function attributes(content, number) {
  const found = [];
  for (const name of content.chunks.keys()) {
    const [part, attribute, ...rest] = name.split(".");
    const what = rest.join(".");
    if (part !== number || name === `${number}.splats`) continue;
    if (what !== "book" && what !== "index") throw content.fault(name, "a codebook or its indices", `'${name}'`);
    const known = ATTRIBUTES.get(attribute);
    if (!known || (known.first !== null && known.first + known.width / 3 > (content.degree + 1) ** 2)) {
      throw content.fault(name, "an attribute of the file", `'${attribute}'`);
    }
    if (what === "book") found.push(attribute);
    content.chunk(`${part}.${attribute}.book`);
  }
  return found;
}

function codebook(content, number, attribute, n) {
  const [name, index] = [`${number}.${attribute}.book`, `${number}.${attribute}.index`];
  const [chunk, stream] = [content.chunk(name), content.chunk(index)];
  const { width } = ATTRIBUTES.get(attribute);
  if (chunk.length < BOOK_HEAD) throw content.fault(name, `a head of ${BOOK_HEAD} bytes`, String(chunk.length), chunk.length);
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  const size = view.getUint32(0, true);
  const [optional, zero] = [chunk[4], chunk[5]];
  const found = view.getUint16(6, true);
  const step = view.getFloat32(8, true);
  if (size > MOST_SYMBOLS || optional > 1 || zero || found !== width) {
    throw content.fault(name, `up to ${MOST_SYMBOLS} codewords of ${width} integers`, `${size} of ${found}`);
  }
  if (!(step >= SMALLEST_STEP && step <= LARGEST_STEP) || (size === 0 && n && !optional)) {
    throw content.fault(name, "a positive step and codewords", `${step}, ${size}`, 8);
  }
  const room = INTEGERS_PER_BYTE * (chunk.length - BOOK_HEAD);
  if (size * width > room) throw content.fault(name, `at most ${room} integers`, `${size} rows of ${width}`, BOOK_HEAD);
  const rows = sound(() => decodeRows(chunk.subarray(BOOK_HEAD), size, width), content, name, "a sound codebook", BOOK_HEAD);
  const indices = sound(() => decodeSymbols(stream, n, Math.max(size, 1), optional === 1), content, index, "sound indices", 0);
  if (size === 0 && indices.some((i) => i >= 0)) throw content.fault(index, "sound indices", "an index into an empty codebook");
  return { attribute, step, rows, indices };
}

function sound(decode, content, name, expected, at) {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof CodingError)) throw error;
    throw content.fault(name, expected, error.message, at);
  }
}

/** The scene of a file. @throws {FormatError} */
export function readCodebooks(content) {
  const { count: n, degree } = content;
  const k = coefficients(degree);
  const scene = emptySplats(n, degree);
  let first = 0;
  for (const { splats, count, books } of decodeParts(content)) {
    let at = first;
    for (const { decoder, begin, end } of splats.spans) {
      const piece = dequantise(splats.head, decoder.decoder.cell, begin, end);
      for (const [name, width] of [["means", 3], ["logScales", 3], ["quats", 4], ["opacities", 1], ["colours", 3]]) scene[name].set(piece[name], width * at);
      scene.sh?.set(floatSh(splats.head, decoder.decoder.cell, begin, end, degree), 3 * k * at);
      at += end - begin;
    }
    for (const book of books) lookUp(scene, book, first, 3 * k);
    first += count;
  }
  for (let i = 0; i < 4 * n; i += 4) if (!scene.quats.subarray(i, i + 4).some(Boolean)) scene.quats[i] = 1; // of a broken file
  return scene;
}

/** Writes what a codebook stands for into the splats from `first` on. */
function lookUp(scene, { attribute, step, rows, indices }, first, shWidth) {
  const { first: coefficient, width } = ATTRIBUTES.get(attribute);
  const values = Float32Array.from(rows, (integer) => integer * step);
  for (let i = 0; i < indices.length; i++) {
    if (indices[i] < 0) continue;
    const row = values.subarray(width * indices[i], width * (indices[i] + 1));
    const at = first + i;
    if (attribute === "scale") scene.logScales.set(row, 3 * at);
    else if (attribute === "rotation") scene.quats.set(row, 4 * at);
    else {
      const dc = coefficient === 0 ? 3 : 0;
      for (let c = 0; c < dc; c++) scene.colours[3 * at + c] = colourOfDc(row[c]);
      if (width > dc) scene.sh.set(row.subarray(dc), shWidth * at + (dc ? 0 : 3 * (coefficient - 1)));
    }
  }
}
