/**
 * Pixels as bytes.
 * @param {Float32Array|Uint8Array} numbers RGBA; floats: premultiplied, without background.
 * @param {number[]|null} background What floats are put over; null: the numbers are bytes already.
 */
export function toBytes(numbers, background) {
  const out = new Uint8ClampedArray(numbers.length);
  if (!background) {
    out.set(numbers);
    return out;
  }
  for (let i = 0; i < numbers.length; i += 4) {
    const rest = 1 - numbers[i + 3];
    for (let c = 0; c < 3; c++) out[i + c] = 255 * (numbers[i + c] + rest * background[c]); // clamped, rounded
    out[i + 3] = 255;
  }
  return out;
}
