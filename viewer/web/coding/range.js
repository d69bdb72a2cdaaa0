/** Binary range decoder: 32-bit range, 16-bit probabilities; twin of scenerep/coding/reference/range_coder.py. */

/** The stream cannot have been written by the encoder. */
export class CodingError extends Error {}

export class RangeDecoder {
  /** @param {Uint8Array} bytes One stream. */
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.range = 0xffffffff;
    this.code = 0;
    for (let i = 0; i < 4; i++) this.code = ((this.code << 8) | this.next()) >>> 0;
  }

  next() {
    const at = this.at++;
    if (at < this.bytes.length) return this.bytes[at];
    if (at >= this.bytes.length + 3) throw new CodingError("the stream ends too early");
    return 0;
  }

  normalise() {
    while (this.range < 0x1000000) {
      this.code = ((this.code << 8) | this.next()) >>> 0;
      this.range = (this.range << 8) >>> 0;
    }
  }

  /** `count` (up to 8) equally likely bits. */
  raw(count) {
    this.range >>>= count;
    let value = Math.floor(this.code / this.range);
    // A sound stream never reaches this limit; a broken one must not leave the interval.
    if (value >>> count) value = (1 << count) - 1;
    this.code = (this.code - value * this.range) >>> 0;
    this.normalise();
    return value;
  }
}
