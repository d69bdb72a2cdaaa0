/**
 * Signed integers by adaptive distributions over sixteen symbols, mixed by weights that learn; twin of
 * scenerep/coding/reference/integer.py. Integers only; what is shifted stays below 2^31.
 */
import { NEW_SLOT, adapted } from "./models.js";
import { CodingError } from "./range.js";

const SYMBOLS = 16;
const SLOWEST = 64; // a distribution never adapts slower than 1 / (SLOWEST + 1.6)
const RATES = Int32Array.from({ length: SLOWEST + 1 }, (_, n) => Math.floor(163840 / (5 * n + 8)));
const LEAST = 512; // of a weight; their sum is 32767
const FIRST_LARGE = 6; // the exponent at which the last symbol begins

/**
 * A signed integer of up to 24 bits.
 *
 * Symbols: 0; then for each size class its positive and its negative numbers, the classes being 1, 2, 3, 4-7, 8-15,
 * 16-31, 32-63; 15 for anything larger, whose sign and exponent follow. The first two bits below the leading one have
 * probabilities by exponent, the others are equally likely.
 */
export class IntegerModel {
  /** @param {number[]} sizes Contexts of each kind, up to four. */
  constructor(sizes) {
    const total = sizes.reduce((sum, size) => sum + size, 0);
    this.kinds = sizes.length;
    this.starts = sizes.map((_, j) => sizes.slice(0, j).reduce((sum, size) => sum + size, 0));
    // Probability of the symbols above each one, in 1 / 32768.
    this.above = Int16Array.from({ length: SYMBOLS * total }, (_, i) => 32768 - 2048 * ((i % SYMBOLS) + 1));
    this.seen = new Uint8Array(total);
    this.weights = new Int32Array(4).fill(Math.floor(32767 / this.kinds), 0, this.kinds);
    this.larger = new Int32Array(19).fill(NEW_SLOT); // whether the exponent is above 6, 7 ...
    this.below = new Int32Array(4 * 25).fill(NEW_SLOT); // by exponent and the bits so far
    this.at = Int32Array.from({ length: 4 }, (_, j) => this.starts[j] ?? 0);
  }

  /** Sets context `j` of the next integer. */
  set(j, context) {
    this.at[j] = this.starts[j] + context;
  }

  /** The next integer. */
  code(decoder) {
    const symbol = this.symbol(decoder);
    if (symbol === 0) return 0;
    let negative = (symbol & 1) === 0;
    let exponent;
    if (symbol === SYMBOLS - 1) {
      negative = decoder.raw(1) === 1;
      exponent = FIRST_LARGE;
      while (codeBit(decoder, this.larger, exponent - FIRST_LARGE)) {
        if (++exponent > 24) throw new CodingError("an integer has more than 24 bits");
      }
    } else {
      const size = (symbol - 1) >> 1;
      if (size < 3) return negative ? -size - 1 : size + 1;
      exponent = size - 1;
    }
    let m = 2 | codeBit(decoder, this.below, 4 * exponent + 1);
    m = (m << 1) | codeBit(decoder, this.below, 4 * exponent + m);
    for (let left = exponent - 2; left > 0; ) {
      const take = Math.min(left, 8);
      left -= take;
      m = (m << take) | decoder.raw(take);
    }
    return negative ? -m : m;
  }

  symbol(decoder) {
    const { above, at, kinds, weights } = this;
    const a0 = SYMBOLS * at[0];
    const a1 = SYMBOLS * at[1];
    const a2 = SYMBOLS * at[2];
    const a3 = SYMBOLS * at[3];
    const [w0, w1, w2, w3] = weights; // those of missing kinds are 0
    const unit = decoder.range >>> 15;
    const { code } = decoder;
    // The first symbol above which less is left than the code; most are small.
    let symbol = -1;
    let here = 32768;
    let before;
    let end = decoder.range;
    let low;
    for (;;) {
      symbol++;
      before = here;
      let p;
      if (kinds === 1) {
        p = above[a0 + symbol];
      } else {
        p = ((above[a0 + symbol] * w0 + 16384) >> 15) + ((above[a1 + symbol] * w1 + 16384) >> 15);
        if (kinds > 2) p += ((above[a2 + symbol] * w2 + 16384) >> 15) + ((above[a3 + symbol] * w3 + 16384) >> 15);
      }
      here = p - (p >> 9) + 4 * (SYMBOLS - 1 - symbol); // no symbol falls below 4 / 32768
      low = unit * here;
      if (low <= code) break;
      end = low;
    }
    decoder.code -= low;
    decoder.range = end - low;
    if (decoder.range < 0x1000000) decoder.normalise();

    let left = 32767;
    for (let j = 0; j < kinds - 1; j++) {
      const a = SYMBOLS * at[j] + symbol;
      const width = (symbol ? above[a - 1] : 32768) - above[a];
      const ratio = Math.min(Math.floor((width << 12) / (before - here)), 1 << 15);
      const w = weights[j] + ((weights[j] * (ratio - 4096) + (1 << 17)) >> 18);
      const most = left - LEAST * (kinds - 1 - j);
      weights[j] = w < LEAST ? LEAST : w > most ? most : w;
      left -= weights[j];
    }
    weights[kinds - 1] = left;
    for (let j = 0; j < kinds; j++) this.adapt(at[j], symbol);
    return symbol;
  }

  adapt(context, symbol) {
    const { above } = this;
    const n = this.seen[context];
    const rate = RATES[n];
    const start = SYMBOLS * context;
    const middle = start + symbol;
    const end = start + SYMBOLS - 1;
    for (let i = start; i < middle; i++) above[i] += ((32767 - above[i]) * rate + 16384) >> 15;
    for (let i = middle; i < end; i++) above[i] += (16384 - above[i] * rate) >> 15;
    if (n < SLOWEST) this.seen[context] = n + 1;
  }
}

function codeBit(decoder, slots, at) {
  const slot = slots[at];
  const p = Math.min(Math.max(slot & 0xffff, 32), 65504);
  const bound = (decoder.range >>> 16) * p;
  const bit = decoder.code < bound ? 1 : 0;
  if (bit) {
    decoder.range = bound;
  } else {
    decoder.code -= bound;
    decoder.range -= bound;
  }
  if (decoder.range < 0x1000000) decoder.normalise();
  slots[at] = adapted(slot, bit ? 65535 : 0);
  return bit;
}
