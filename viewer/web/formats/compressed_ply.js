/** PlayCanvas' compressed PLY: blocks of 256 splats; twin of scenerep/io/compressed_ply.py. */
import { FormatError } from "../errors.js";
import { coefficients, colourOfDc, emptySplats, finite, fromSmallestThree, opacityOfByte, requireBytes, SH_C0 } from "./common.js";
import { parseHeader, rowBytes } from "./ply_header.js";

const CHUNK = 256;
const BOUNDS = ["min_x", "min_y", "min_z", "max_x", "max_y", "max_z"];
const SCALES = ["min_scale_x", "min_scale_y", "min_scale_z", "max_scale_x", "max_scale_y", "max_scale_z"];
const COLOURS = ["min_r", "min_g", "min_b", "max_r", "max_g", "max_b"];
const PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"];
const SH_RANGE = 8; // SH coefficients in [-4, 4)

/** Whether a PLY's header announces this layout. */
export const isCompressed = (header) => header.elements.some((element) => element.name === "chunk");

/** The whole scene. @throws {FormatError} */
export function read(bytes, file) {
  const header = parseHeader(bytes, file);
  if (header.order !== "little") throw new FormatError(file, "binary_little_endian", "another byte order or text", 0);
  const parts = locate(bytes, header, file);
  const { chunk, vertex, sh: rest } = parts;
  if (!chunk || !vertex) throw new FormatError(file, "elements 'chunk' and 'vertex'", Object.keys(parts).join(", ") || "none", header.body);
  const n = vertex.count;
  const chunks = Math.ceil(n / CHUNK);
  if (chunk.count !== chunks) throw new FormatError(file, `${chunks} chunks`, String(chunk.count), chunk.offset);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const bounds = columns(chunk, BOUNDS, "float32", file);
  const sizes = columns(chunk, SCALES, "float32", file);
  const tones = chunk.properties.some((p) => p.name === "min_r") ? columns(chunk, COLOURS, "float32", file) : null;
  const packed = columns(vertex, PACKED, "uint32", file);
  const degree = rest ? shDegree(rest, n, file) : 0;
  const scene = {
    format: "compressed.ply",
    version: null,
    degree,
    antialiased: false,
    ...emptySplats(n),
    sh: degree ? higherBands(bytes, rest, n, degree, file) : null,
    shType: "float32",
    shSpace: "rgb",
    shSteps: new Float32Array(2 * degree).fill(1),
  };
  const box = new Float64Array(18);
  for (let i = 0; i < n; i++) {
    if (i % CHUNK === 0) {
      const row = chunk.start + Math.floor(i / CHUNK) * chunk.rowBytes;
      bounds.forEach((at, j) => (box[j] = view.getFloat32(row + at, true)));
      sizes.forEach((at, j) => (box[6 + j] = view.getFloat32(row + at, true)));
      if (tones) tones.forEach((at, j) => (box[12 + j] = view.getFloat32(row + at, true)));
    }
    const row = vertex.start + i * vertex.rowBytes;
    const [position, rotation, scale, colour] = packed.map((at) => view.getUint32(row + at, true));
    spread(scene.means, i, position, box, 0);
    spread(scene.logScales, i, scale, box, 6);
    const t = (shift) => (((rotation >>> shift) & 1023) / 1023 - 0.5) * Math.SQRT2;
    fromSmallestThree(scene.quats, i, rotation >>> 30, t(20), t(10), t(0));
    for (let c = 0; c < 3; c++) {
      const unit = ((colour >>> (24 - 8 * c)) & 255) / 255;
      const rgb = tones ? box[12 + c] * (1 - unit) + box[15 + c] * unit : unit;
      scene.colours[3 * i + c] = colourOfDc((rgb - 0.5) / SH_C0);
    }
    scene.opacities[i] = opacityOfByte(colour & 255);
  }
  return finite(scene);
}

/** Three numbers of 11, 10 and 11 bits between the bounds at `at`. */
function spread(out, i, word, box, at) {
  const t = [(word >>> 21) / 2047, ((word >>> 11) & 1023) / 1023, (word & 2047) / 2047];
  for (let a = 0; a < 3; a++) out[3 * i + a] = box[at + a] * (1 - t[a]) + box[at + 3 + a] * t[a];
}

function locate(bytes, header, file) {
  const found = {};
  let start = header.body;
  for (const element of header.elements) {
    const size = rowBytes(element);
    if (size === null) throw new FormatError(file, "elements without lists", `a list in '${element.name}'`, element.offset);
    requireBytes(bytes, start, element.count * size, `${element.count} rows of '${element.name}'`, file);
    found[element.name] = { ...element, start, rowBytes: size };
    start += element.count * size;
  }
  return found;
}

/** Offsets within a row of the named columns, all of which must have one type. */
function columns(element, names, type, file) {
  return names.map((name) => {
    const property = element.properties.find((p) => p.name === name);
    if (!property || property.type !== type) {
      throw new FormatError(file, `a property '${name}' of type ${type} in '${element.name}'`, property ? property.type : "none", element.offset);
    }
    return property.at;
  });
}

function shDegree(element, n, file) {
  const degree = [9, 24, 45].indexOf(element.properties.length) + 1;
  if (element.count !== n || degree === 0) {
    const found = `${element.count} rows of ${element.properties.length}`;
    throw new FormatError(file, `${n} rows of 9, 24 or 45 SH coefficients`, found, element.offset);
  }
  return degree;
}

function higherBands(bytes, element, n, degree, file) {
  const k = coefficients(degree);
  const at = columns(element, Array.from({ length: 3 * k }, (_, i) => `f_rest_${i}`), "uint8", file);
  // The middle of each step, but the ends stand for the ends of the range.
  const levels = Float32Array.from({ length: 256 }, (_, b) => ((b === 0 ? 0 : b === 255 ? 1 : (b + 0.5) / 256) - 0.5) * SH_RANGE);
  const sh = new Float32Array(3 * k * n);
  for (let i = 0, to = 0; i < n; i++) {
    const row = element.start + i * element.rowBytes;
    for (let j = 0; j < k; j++) for (let c = 0; c < 3; c++) sh[to++] = levels[bytes[row + at[c * k + j]]];
  }
  return sh;
}
