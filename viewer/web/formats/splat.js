/** .splat: rows of 32 bytes, SH degree 0; twin of scenerep/io/splat.py. */
import { FormatError } from "../errors.js";
import { colourOfDc, emptySplats, finite, opacityOfByte, SH_C0 } from "./common.js";

const ROW = 32;

/** Whether bytes without any mark of their own can be a .splat: whole rows, sane numbers in nearly all of them. */
export function looksLike(bytes) {
  if (bytes.length === 0 || bytes.length % ROW) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let sane = 0;
  let sized = false;
  for (let at = 0; at < bytes.length; at += ROW) {
    let good = true;
    for (let j = 0; j < 3; j++) {
      const scale = view.getFloat32(at + 12 + 4 * j, true);
      good &&= Number.isFinite(view.getFloat32(at + 4 * j, true)) && scale >= 0 && scale < 1e12;
      sized ||= scale !== 0;
    }
    if (good) sane++;
  }
  return sane > (0.9 * bytes.length) / ROW && sized;
}

/** The whole scene. @throws {FormatError} */
export function read(bytes, file) {
  const rest = bytes.length % ROW;
  if (rest) throw new FormatError(file, "rows of 32 bytes", `${rest} bytes too many`, bytes.length - rest, "the file may be cut off");
  if (!looksLike(bytes)) throw new FormatError(file, "rows of .splat", "numbers that are no positions and sizes", 0);
  const count = bytes.length / ROW;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const scene = {
    format: "splat",
    version: null,
    degree: 0,
    antialiased: false,
    ...emptySplats(count),
    shType: "int16",
    shSpace: "rgb",
    shSteps: new Float32Array(0),
  };
  const colours = Float32Array.from({ length: 256 }, (_, b) => colourOfDc((b / 255 - 0.5) / SH_C0));
  for (let i = 0, at = 0; i < count; i++, at += ROW) {
    for (let j = 0; j < 3; j++) {
      scene.means[3 * i + j] = view.getFloat32(at + 4 * j, true);
      scene.logScales[3 * i + j] = Math.log(view.getFloat32(at + 12 + 4 * j, true));
      scene.colours[3 * i + j] = colours[bytes[at + 24 + j]];
    }
    scene.opacities[i] = opacityOfByte(bytes[at + 27]);
    for (let j = 0; j < 4; j++) scene.quats[4 * i + j] = (bytes[at + 28 + j] - 128) / 128;
  }
  return finite(scene);
}
