/**
 * Adaptive bit models mixed in the logistic domain (Mahoney 2005); twin of scenerep/coding/reference/models.py.
 * Integers only: every product stays below 2^53, those that are shifted as int32 below 2^31.
 */
import { CodingError } from "./range.js";

// 65536 / (1 + exp(-x / 256)) at x = -2048, -1920 ... 2048; straight lines between.
const SQUASH = Int32Array.of(
  22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724,
  60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
);
const SLOWEST = 127; // a context never adapts slower than 1 / (SLOWEST + 2)
const WEIGHT_LIMIT = 1 << 19;
const NEW_SLOT = 32768; // probability of a 1 in the low 16 bits, bits seen above

/** A 16-bit probability from its logit x / 256. */
function squash(x) {
  const i = (x + 2048) >> 7;
  const f = x & 127;
  return (SQUASH[i] * (128 - f) + SQUASH[i + 1] * f + 64) >> 7;
}

/** By 12-bit probability p: the smallest x whose squash(x) >> 4 is not below p. */
const STRETCH = new Int16Array(4096).fill(2047);
for (let x = -2047, next = 0; x <= 2047; x++) while (next <= squash(x) >> 4 && next < 4096) STRETCH[next++] = x;

const RATES = Int32Array.from({ length: SLOWEST + 1 }, (_, n) => Math.floor(32768 / (n + 2)));

/** Decodes bits by several contexts each. */
export class Mixer {
  /**
   * @param {number[]} sizes Contexts of each kind.
   * @param {number} sets Sets of weights.
   */
  constructor(sizes, sets) {
    this.kinds = sizes.length;
    this.slots = sizes.map((size) => new Int32Array(size).fill(NEW_SLOT));
    this.weights = new Int32Array(sets * this.kinds).fill(Math.floor(65536 / this.kinds));
    this.seen = new Uint8Array(sets);
    /** The context of each kind for the next bit. */
    this.at = new Int32Array(this.kinds);
    this.stretched = new Int32Array(this.kinds);
  }

  /** The next bit, with weights of the set. */
  code(decoder, set) {
    const { kinds, slots, weights, at, stretched } = this;
    const base = set * kinds;
    let dot = 0;
    for (let j = 0; j < kinds; j++) {
      const st = STRETCH[(slots[j][at[j]] & 0xffff) >> 4];
      stretched[j] = st;
      dot += weights[base + j] * st;
    }
    dot = Math.floor(dot / 65536);
    const x = dot > 2047 ? 2047 : dot < -2047 ? -2047 : dot;
    const i = (x + 2048) >> 7;
    const f = x & 127;
    let p = (SQUASH[i] * (128 - f) + SQUASH[i + 1] * f + 64) >> 7;
    p = p < 32 ? 32 : p > 65504 ? 65504 : p;

    const bound = (decoder.range >>> 16) * p;
    let bit = 0;
    if (decoder.code < bound) {
      decoder.range = bound;
      bit = 1;
    } else {
      decoder.code -= bound;
      decoder.range -= bound;
    }
    if (decoder.range < 0x1000000) decoder.normalise();

    const error = (bit << 16) - p;
    const shift = this.seen[set] < 64 ? 14 : 15;
    const half = 1 << (shift - 1);
    const target = bit ? 65535 : 0;
    for (let j = 0; j < kinds; j++) {
      const w = weights[base + j] + ((stretched[j] * error + half) >> shift);
      weights[base + j] = w > WEIGHT_LIMIT ? WEIGHT_LIMIT : w < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : w;
      const table = slots[j];
      const slot = table[at[j]];
      const old = slot & 0xffff;
      const n = slot >>> 16;
      table[at[j]] = (old + (((target - old) * RATES[n]) >> 15)) | ((n < SLOWEST ? n + 1 : n) << 16);
    }
    if (this.seen[set] < 64) this.seen[set]++;
    return bit;
  }
}

const NODES = 33;

/**
 * A signed integer of up to 24 bits: zero?, sign, exponent (unary), mantissa from the top. Bits with a context of their
 * own ("nodes"): the exponent up to 7, the mantissa of exponents 1 to 3, and the first two mantissa bits of larger ones.
 */
export class IntegerModel {
  constructor(sizes) {
    this.mixer = new Mixer(sizes.map((size) => size * NODES), NODES);
    this.base = new Int32Array(sizes.length);
  }

  /** Sets context `j` of the next integer. */
  set(j, context) {
    this.base[j] = context * NODES;
  }

  bit(decoder, node) {
    const { base, mixer } = this;
    for (let j = 0; j < base.length; j++) mixer.at[j] = base[j] + node;
    return mixer.code(decoder, node);
  }

  code(decoder) {
    if (!this.bit(decoder, 0)) return 0;
    const negative = this.bit(decoder, 1);
    let e = 0;
    while (this.bit(decoder, 2 + (e < 7 ? e : 7))) {
      if (++e > 24) throw new CodingError("an integer has more than 24 bits");
    }
    let m = 1;
    for (let k = e; k-- > 0; ) {
      const below = e - 1 - k; // mantissa bits known so far
      let bit;
      if (e <= 3) bit = this.bit(decoder, (e === 1 ? 10 : e === 2 ? 11 : 14) + m - 1);
      else if (below < 2) bit = this.bit(decoder, 21 + 3 * ((e < 7 ? e : 7) - 4) + m - 1);
      else bit = decoder.raw(1);
      m = (m << 1) | bit;
    }
    return negative ? -m : m;
  }
}
