/** A file that cannot be read: what is wrong, where, and what helps. */
export class FormatError extends Error {
  /**
   * @param {string} file Name of the file.
   * @param {string} expected What should stand there.
   * @param {string} found What stands there.
   * @param {number|null} offset Byte of the file, if known.
   * @param {string} hint What to do.
   */
  constructor(file, expected, found, offset = null, hint = "") {
    const place = offset === null ? "" : ` at byte ${offset}`;
    super(`${file}${place}: expected ${expected}, found ${found}${hint ? ` (${hint})` : ""}`);
    this.name = "FormatError";
    Object.assign(this, { file, expected, found, offset, hint });
  }
}
