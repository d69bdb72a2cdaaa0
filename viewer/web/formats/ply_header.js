/** The header of a PLY file; twin of scenerep/io/ply_header.py. */
import { FormatError } from "../errors.js";

const MAX_HEADER = 1 << 20;
const ORDERS = { ascii: "ascii", binary_little_endian: "little", binary_big_endian: "big" };
const TYPES = {
  char: "int8", int8: "int8", uchar: "uint8", uint8: "uint8", short: "int16", int16: "int16", ushort: "uint16", uint16: "uint16",
  int: "int32", int32: "int32", uint: "uint32", uint32: "uint32", float: "float32", float32: "float32", double: "float64", float64: "float64",
};
const SIZES = { int8: 1, uint8: 1, int16: 2, uint16: 2, int32: 4, uint32: 4, float32: 4, float64: 8 };

/** Bytes of a row of an element, or null if it has lists. */
export function rowBytes(element) {
  return element.properties.reduce((sum, p) => (sum === null || p.type === null ? null : sum + SIZES[p.type]), 0);
}

/**
 * @returns {{order: "ascii"|"little"|"big", body: number, comments: string[],
 *   elements: {name: string, count: number, offset: number, properties: {name: string, type: string|null, at: number}[]}[]}}
 *   `body`: where the header ends; `at`: byte of a property within a row.
 * @throws {FormatError}
 */
export function parseHeader(bytes, file) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  if (String.fromCharCode(...bytes.subarray(0, 3)) !== "ply") throw new FormatError(file, "the line 'ply'", "another", 0);
  const elements = [];
  const comments = [];
  let order = null;
  for (let start = 0; ; ) {
    const stop = bytes.indexOf(10, start);
    if (stop < 0 || stop > MAX_HEADER) throw new FormatError(file, "a line 'end_header'", "the end of the header's space", start);
    let line;
    try {
      line = decoder.decode(bytes.subarray(start, stop)).trim();
    } catch {
      throw new FormatError(file, "a header line of text", "bytes that are no text", start);
    }
    const words = line.split(/\s+/);
    const bad = (expected) => new FormatError(file, expected, `'${line.slice(0, 60)}'`, start);
    if (words[0] === "end_header") {
      if (order === null) throw bad("a format line");
      return { order, elements, comments, body: stop + 1 };
    }
    if (words[0] === "format") {
      if (!Object.hasOwn(ORDERS, words[1] ?? "")) throw bad(`a format of ${Object.keys(ORDERS).join(", ")}`);
      order = ORDERS[words[1]];
    } else if (words[0] === "comment") comments.push(line.slice(7).trim());
    else if (words[0] === "element") {
      if (words.length !== 3 || !/^\d{1,12}$/.test(words[2])) throw bad("'element <name> <count>'");
      if (elements.some((e) => e.name === words[1])) throw bad("every element once");
      elements.push({ name: words[1], count: Number(words[2]), offset: start, properties: [] });
    } else if (words[0] === "property") {
      const element = elements.at(-1);
      if (!element) throw bad("an element before its properties");
      const list = words[1] === "list" && words.length === 5 && Object.hasOwn(TYPES, words[2]) && Object.hasOwn(TYPES, words[3]);
      if (!list && !(words.length === 3 && Object.hasOwn(TYPES, words[1]))) throw bad("'property <type> <name>'");
      const name = words.at(-1);
      if (element.properties.some((p) => p.name === name)) throw bad("every property once");
      element.properties.push({ name, type: list ? null : TYPES[words[1]], at: rowBytes(element) });
    } else if (!["ply", "obj_info", ""].includes(words[0])) throw bad("format, comment, element, property or end_header");
    start = stop + 1;
  }
}
