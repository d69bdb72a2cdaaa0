/** 3DGS PLY, text or binary, either byte order; twin of scenerep/io/ply.py. */
import { FormatError } from "../errors.js";
import { coefficients, colourOfDc, emptySplats, finite, requireBytes, sigmoid } from "./common.js";
import { parseHeader, rowBytes } from "./ply_header.js";

const REQUIRED = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"];
const READERS = {
  int8: "getInt8", uint8: "getUint8", int16: "getInt16", uint16: "getUint16", int32: "getInt32", uint32: "getUint32",
  float32: "getFloat32", float64: "getFloat64",
};
const ANTIALIASED = "scenerep antialiased"; // comment that our writer leaves
const DEGREE = /^scenerep sh_degree\s*[012]$/; // likewise, where it padded with zeros
const FINITE = 30;

/** The whole scene. @throws {FormatError} */
export function read(bytes, file) {
  const header = parseHeader(bytes, file);
  const { vertex, start } = locate(bytes, header, file);
  const names = vertex.properties.map((p) => p.name);
  const missing = REQUIRED.filter((name) => !names.includes(name));
  if (missing.length) {
    const hint = missing.includes("f_dc_0") ? "this looks like a point cloud or a mesh, not a splat scene" : "";
    throw new FormatError(file, "the properties of Gaussian splats", `no ${missing.join(", ")}`, vertex.offset, hint);
  }
  const rest = names.filter((name) => name.startsWith("f_rest_")).length;
  const degree = [0, 9, 24, 45].indexOf(rest);
  for (let i = 0; i < rest; i++) {
    if (degree < 0 || !names.includes(`f_rest_${i}`)) throw new FormatError(file, "f_rest_0 to f_rest_8, 23 or 44, or none", `${rest} f_rest properties`, vertex.offset);
  }
  if (degree < 0) throw new FormatError(file, "9, 24, 45 or no f_rest properties", String(rest), vertex.offset);
  const row = header.order === "ascii" ? textRows(bytes, header, vertex, start, file) : binaryRows(bytes, header, vertex, start);
  const scene = fill(row, names, vertex.count, degree, header.comments.includes(ANTIALIASED));
  return finite(trimBands(scene, header));
}

/** Undoes the zero padding that our writer has announced in a comment; a comment that does not fit is ignored. */
function trimBands(scene, header) {
  const announced = header.comments.find((comment) => DEGREE.test(comment));
  if (announced === undefined) return scene;
  const degree = Number(announced.at(-1));
  if (degree >= scene.degree) return scene;
  const [width, kept] = [3 * coefficients(scene.degree), 3 * coefficients(degree)];
  for (let at = 0; at < scene.sh.length; at++) if (at % width >= kept && scene.sh[at] !== 0) return scene;
  const sh = kept ? new Float32Array(kept * scene.count) : null;
  for (let i = 0; i < (kept ? scene.count : 0); i++) sh.set(scene.sh.subarray(width * i, width * i + kept), kept * i);
  return { ...scene, degree, sh, shSteps: scene.shSteps.slice(0, 2 * degree) };
}

function locate(bytes, header, file) {
  const text = header.order === "ascii";
  let start = text ? 0 : header.body;
  let left = bytes.length - header.body;
  for (const element of header.elements) {
    const size = text ? Math.max(2 * element.properties.length, 1) : rowBytes(element);
    if (size === null) throw new FormatError(file, "Gaussians, all of whose properties are numbers", `a list property in '${element.name}'`, element.offset);
    if (element.count * size > left + (text ? 1 : 0)) {
      throw new FormatError(file, `${element.count} rows of ${size} bytes for '${element.name}'`, `${left} bytes left`, element.offset, "the file may be cut off");
    }
    if (element.name === "vertex") return { vertex: element, start };
    left -= element.count * size;
    start += element.count * (text ? 1 : size);
  }
  throw new FormatError(file, "an element 'vertex'", header.elements.map((e) => e.name).join(", ") || "none", header.body);
}

/** (row i, property j) -> number */
function binaryRows(bytes, header, vertex, start) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const little = header.order === "little";
  const size = rowBytes(vertex);
  const offsets = vertex.properties.map((p) => p.at);
  if (vertex.properties.every((p) => p.type === "float32")) return (i, j) => view.getFloat32(start + i * size + offsets[j], little);
  const readers = vertex.properties.map((p) => view[READERS[p.type]].bind(view));
  return (i, j) => readers[j](start + i * size + offsets[j], little);
}

function textRows(bytes, header, vertex, start, file) {
  requireBytes(bytes, header.body, 0, "rows", file);
  const lines = new TextDecoder().decode(bytes.subarray(header.body)).split("\n").filter((line) => line.trim());
  if (lines.length < start + vertex.count) throw new FormatError(file, `${vertex.count} rows`, String(Math.max(0, lines.length - start)), header.body);
  const width = vertex.properties.length;
  const table = new Float64Array(width * vertex.count);
  for (let i = 0; i < vertex.count; i++) {
    const words = lines[start + i].trim().split(/\s+/);
    if (words.length !== width) throw new FormatError(file, `${width} numbers in a row`, String(words.length), header.body, `row ${i + 1}`);
    for (let j = 0; j < width; j++) {
      const number = /^[+-]?nan$/i.test(words[j]) ? NaN : /^([+-]?)inf(inity)?$/i.test(words[j]) ? (words[j][0] === "-" ? -Infinity : Infinity) : Number(words[j]);
      if (Number.isNaN(number) && !/nan/i.test(words[j])) throw new FormatError(file, "numbers", `'${words[j].slice(0, 20)}' in row ${i + 1}`, header.body);
      table[width * i + j] = number;
    }
  }
  return (i, j) => table[width * i + j];
}

function fill(row, names, count, degree, antialiased) {
  const at = (...wanted) => wanted.map((name) => names.indexOf(name));
  const means = at("x", "y", "z");
  const scales = at("scale_0", "scale_1", "scale_2");
  const quats = at("rot_0", "rot_1", "rot_2", "rot_3");
  const dc = at("f_dc_0", "f_dc_1", "f_dc_2");
  const [opacity] = at("opacity");
  const k = coefficients(degree);
  // Channel-major in the file, coefficient-major here.
  const sh = [];
  for (let j = 0; j < k; j++) for (let c = 0; c < 3; c++) sh.push(names.indexOf(`f_rest_${c * k + j}`));
  const scene = {
    format: "ply",
    version: null,
    degree,
    antialiased,
    ...emptySplats(count, degree),
    shType: "float32",
    shSpace: "rgb",
    shSteps: new Float32Array(2 * degree).fill(1),
  };
  for (let i = 0; i < count; i++) {
    for (let a = 0; a < 3; a++) {
      scene.means[3 * i + a] = row(i, means[a]);
      scene.logScales[3 * i + a] = row(i, scales[a]);
      scene.colours[3 * i + a] = colourOfDc(row(i, dc[a]));
    }
    for (let a = 0; a < 4; a++) scene.quats[4 * i + a] = row(i, quats[a]);
    const logit = Math.fround(row(i, opacity));
    scene.opacities[i] = sigmoid(logit === Infinity ? FINITE : logit === -Infinity ? -FINITE : logit);
    for (let j = 0; j < sh.length; j++) scene.sh[sh.length * i + j] = row(i, sh[j]);
  }
  return scene;
}
