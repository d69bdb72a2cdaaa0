/** Codebooks and indices into them; twin of scenerep/coding/reference/symbols.py. */
import { IntegerModel } from "./integer.js";
import { Mixer } from "./models.js";
import { RangeDecoder } from "./range.js";

/**
 * `n` indices below `size`; with `optional`, -1 stands for none.
 *
 * An index is coded bit by bit from the top: a tree whose nodes learn how often each side is taken. A second tree for
 * each value of the highest three bits of the index before is mixed in. Bits that cannot be 1 are not coded.
 * @returns {Int32Array}
 * @throws {CodingError}
 */
export function decodeSymbols(stream, n, size, optional) {
  const decoder = new RangeDecoder(stream);
  const bits = size > 1 ? 32 - Math.clz32(size - 1) : 0;
  const presence = new Mixer([8, 256, 1], 1);
  const tree = new Mixer([1 << bits, 8 << bits], bits || 1);
  const symbols = new Int32Array(n);
  let recent = 0; // flags of the indices before
  let before = 0;
  for (let i = 0; i < n; i++) {
    if (optional) {
      presence.set(0, recent & 7);
      presence.set(1, recent & 255);
      const present = presence.code(decoder, 0);
      recent = (recent << 1) | present;
      if (!present) {
        symbols[i] = -1;
        continue;
      }
    }
    let node = 1;
    for (let k = bits - 1; k >= 0; k--) {
      const level = bits - 1 - k;
      const right = (((node << 1) | 1) - (2 << level)) << k; // the smallest index below the right child
      let bit = 0;
      if (right < size) {
        tree.set(0, node);
        tree.set(1, (before << bits) | node);
        bit = tree.code(decoder, level);
      }
      node = (node << 1) | bit;
    }
    symbols[i] = node - (1 << bits);
    before = bits > 3 ? symbols[i] >> (bits - 3) : symbols[i];
  }
  return symbols;
}

/**
 * Integers [n, width], row by row; each column has probabilities of its own.
 * @returns {Int32Array}
 * @throws {CodingError}
 */
export function decodeRows(stream, n, width) {
  const decoder = new RangeDecoder(stream);
  const model = new IntegerModel([width]);
  const values = new Int32Array(n * width);
  for (let i = 0; i < values.length; i++) {
    model.set(0, i % width);
    values[i] = model.code(decoder);
  }
  return values;
}
