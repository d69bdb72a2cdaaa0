/**
 * Adaptive bit models mixed in the logistic domain (Mahoney 2005); twin of scenerep/coding/reference/models.py.
 * Integers only: every product stays below 2^53, those that are shifted as int32 below 2^31.
 */
// 65536 / (1 + exp(-x / 256)) at x = -2048, -1920 ... 2048; straight lines between.
const SQUASH = Int32Array.of(
  22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724,
  60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
);
const SLOWEST = 127; // a context never adapts slower than 1 / (SLOWEST + 2)
const WEIGHT_LIMIT = 1 << 19;
export const NEW_SLOT = 32768; // probability of a 1 in the low 16 bits, bits seen above

/** A 16-bit probability from its logit x / 256. */
function squash(x) {
  const i = (x + 2048) >> 7;
  const f = x & 127;
  return (SQUASH[i] * (128 - f) + SQUASH[i + 1] * f + 64) >> 7;
}

/** By 12-bit probability p: the smallest x whose squash(x) >> 4 is not below p. */
const STRETCH = new Int16Array(4096).fill(2047);
let next = 0;
for (let x = -2047; x <= 2047; x++) while (next <= squash(x) >> 4 && next < 4096) STRETCH[next++] = x;

/** By logit + 2047: squash, kept off 0 and 1. */
const PROBABILITY = Int32Array.from({ length: 4095 }, (_, i) => Math.min(Math.max(squash(i - 2047), 32), 65504));

const RATES = Int32Array.from({ length: SLOWEST + 1 }, (_, n) => Math.floor(32768 / (n + 2)));

/** Decodes bits by several contexts each, up to four. */
export class Mixer {
  /**
   * @param {number[]} sizes Contexts of each kind.
   * @param {number} sets Sets of weights.
   */
  constructor(sizes, sets) {
    this.kinds = sizes.length;
    // One table for all kinds, and places in it: nested arrays take twice the time.
    this.starts = sizes.map((_, j) => sizes.slice(0, j).reduce((sum, size) => sum + size, 0));
    this.slots = new Int32Array(sizes.reduce((sum, size) => sum + size, 0)).fill(NEW_SLOT);
    this.weights = new Int32Array(4 * sets);
    for (let set = 0; set < sets; set++) this.weights.fill(Math.floor(65536 / this.kinds), 4 * set, 4 * set + this.kinds);
    this.seen = new Uint8Array(sets);
    /** The context of each kind for the next bit, as a place in `slots`. */
    this.at = Int32Array.from({ length: 4 }, (_, j) => this.starts[j] ?? 0);
  }

  /** Chooses context `j` of the next bit. */
  set(j, context) {
    this.at[j] = this.starts[j] + context;
  }

  /** The next bit, with weights of a set. */
  code(decoder, set) {
    const { slots, weights, at, kinds } = this;
    const base = 4 * set;
    // Written out: a loop over the kinds takes half as long again.
    const [a0, a1, a2, a3] = [at[0], at[1], at[2], at[3]];
    const s0 = slots[a0];
    const t0 = STRETCH[(s0 & 0xffff) >> 4];
    let dot = weights[base] * t0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    let t1 = 0;
    let t2 = 0;
    let t3 = 0;
    if (kinds > 1) {
      s1 = slots[a1];
      t1 = STRETCH[(s1 & 0xffff) >> 4];
      dot += weights[base + 1] * t1;
      if (kinds > 2) {
        s2 = slots[a2];
        t2 = STRETCH[(s2 & 0xffff) >> 4];
        dot += weights[base + 2] * t2;
        if (kinds > 3) {
          s3 = slots[a3];
          t3 = STRETCH[(s3 & 0xffff) >> 4];
          dot += weights[base + 3] * t3;
        }
      }
    }
    dot = Math.floor(dot / 65536);
    const x = dot > 2047 ? 2047 : dot < -2047 ? -2047 : dot | 0;
    const p = PROBABILITY[x + 2047];

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
    const seen = this.seen[set];
    const shift = seen < 64 ? 14 : 15;
    const half = 1 << (shift - 1);
    const target = bit ? 65535 : 0;
    weights[base] = clampWeight(weights[base] + ((t0 * error + half) >> shift));
    slots[a0] = adapted(s0, target);
    if (kinds > 1) {
      weights[base + 1] = clampWeight(weights[base + 1] + ((t1 * error + half) >> shift));
      slots[a1] = adapted(s1, target);
      if (kinds > 2) {
        weights[base + 2] = clampWeight(weights[base + 2] + ((t2 * error + half) >> shift));
        slots[a2] = adapted(s2, target);
        if (kinds > 3) {
          weights[base + 3] = clampWeight(weights[base + 3] + ((t3 * error + half) >> shift));
          slots[a3] = adapted(s3, target);
        }
      }
    }
    if (seen < 64) this.seen[set] = seen + 1;
    return bit;
  }
}

const clampWeight = (w) => (w > WEIGHT_LIMIT ? WEIGHT_LIMIT : w < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : w);

/** A slot after a bit: `target` is 65535 for a 1. */
export function adapted(slot, target) {
  const old = slot & 0xffff;
  const n = slot >>> 16;
  return (old + (((target - old) * RATES[n]) >> 15)) | ((n < SLOWEST ? n + 1 : n) << 16);
}
