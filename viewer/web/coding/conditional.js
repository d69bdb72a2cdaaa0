/** Tables of integers in known contexts; twin of scenerep/coding/reference/conditional.py. */
import { IntegerModel } from "./integer.js";
import { RangeDecoder } from "./range.js";

const RECENT = 12; // classes of how large the two values above were: 0, 1, then in powers of two
const MOST_SIZE = 1 << 20;

/**
 * Integers [rows, columns], row by row.
 * @param {Int32Array} classes [rows, columns] in 0 .. count - 1.
 * @param {number} fine So many neighbouring classes are one class where contexts are combined.
 * @returns {Int32Array}
 * @throws {CodingError}
 */
export function decodeTable(stream, classes, columns, count, fine) {
  const decoder = new RangeDecoder(stream);
  const coarse = Math.ceil(count / fine);
  const model = new IntegerModel([count, columns * coarse, RECENT * coarse]);
  const values = new Int32Array(classes.length);
  const size = (at) => (at < 0 ? 0 : Math.min(Math.abs(values[at]), MOST_SIZE));
  for (let at = 0; at < values.length; at++) {
    const wide = Math.floor(classes[at] / fine);
    const above = size(at - columns) + size(at - 2 * columns);
    const recent = Math.min(RECENT - 1, 32 - Math.clz32(above));
    model.set(0, classes[at]);
    model.set(1, (at % columns) * coarse + wide);
    model.set(2, recent * coarse + wide);
    values[at] = model.code(decoder);
  }
  return values;
}
