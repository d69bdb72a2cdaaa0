/** SPZ (Niantic), versions 1 to 4; twin of scenerep/io/spz.py. The file's axes are RUB, ours RDF. n = splats. */
import { FormatError } from "../errors.js";
import { checkExpansion, coefficients, colourOfDc, finite, flipAxes, fromSmallestThree, inflate, opacityOfByte, requireBytes } from "./common.js";
import { decompress } from "./zstd.js";

const MAGIC = 0x5053474e; // NGSP
const HEADER = 16;
const HEADER_4 = 32;
const COLOUR_SCALE = 0.15;
const MOST_DEGREE = 3;
const NAMES = ["positions", "opacities", "colours", "scales", "rotations", "spherical harmonics"];

/**
 * The whole scene.
 * @param {Uint8Array} bytes
 * @param {string} file Its name, for errors.
 * @throws {FormatError}
 */
export async function read(bytes, file) {
  const packed = await unpack(bytes, file);
  const { version, count: n, fractionalBits, streams } = packed;
  const degree = Math.min(packed.degree, MOST_DEGREE);
  const [positions, alphas, colourBytes, scaleBytes, rotations, rest] = streams;
  const means = version === 1 ? halfFloats(positions) : fixedPoint(positions, 2 ** -fractionalBits);
  const logScales = Float32Array.from(scaleBytes, (b) => b / 16 - 10);
  const table = Float32Array.from({ length: 256 }, (_, b) => colourOfDc((b / 255 - 0.5) / COLOUR_SCALE));
  const colours = Float32Array.from(colourBytes, (b) => table[b]);
  const opacities = Float32Array.from(alphas, opacityOfByte);
  const quats = version < 3 ? firstThree(rotations, n) : smallestThree(rotations, n);
  const k = 3 * coefficients(degree);
  const all = 3 * coefficients(packed.degree);
  let sh = null;
  if (k) {
    sh = new Int16Array(n * k); // flipping a sign takes -128 to 128
    for (let i = 0, at = 0; i < n; i++) for (let j = 0; j < k; j++) sh[at++] = rest[i * all + j] - 128;
  }
  const scene = {
    format: "spz",
    version,
    count: n,
    degree,
    antialiased: (packed.flags & 1) === 1,
    means,
    logScales,
    quats,
    opacities,
    colours,
    sh,
    shType: "int16",
    shSpace: "rgb",
    shSteps: new Float32Array(2 * degree).fill(1 / 128),
  };
  flipAxes(scene, [1, -1, -1]);
  return finite(scene);
}

async function unpack(bytes, file) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const bare = bytes.length >= 4 && view.getUint32(0, true) === MAGIC;
  if (bare) {
    requireBytes(bytes, 0, HEADER, "the header", file);
    if (view.getUint32(4, true) >= 4) return unpackStreams(bytes, view, file);
    const head = header(bytes.subarray(0, HEADER), bytes.length, 3, file);
    const total = head.sizes.reduce((a, b) => a + b, 0);
    requireBytes(bytes, HEADER, total, "the attributes", file);
    return { ...head, streams: split(bytes.subarray(HEADER), head.sizes) };
  }
  const start = await inflate(bytes, "gzip", HEADER, file);
  if (start.length < HEADER) throw new FormatError(file, `${HEADER} unpacked bytes`, String(start.length), 0, "the file may be cut off");
  const head = header(start, bytes.length, 3, file);
  const total = HEADER + head.sizes.reduce((a, b) => a + b, 0);
  const body = await inflate(bytes, "gzip", total, file, 0, true);
  if (body.length < total) throw new FormatError(file, `${total} unpacked bytes`, String(body.length), 0, "the file may be cut off");
  return { ...head, streams: split(body.subarray(HEADER), head.sizes) };
}

function header(bytes, encoded, most, file) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0, true) !== MAGIC) throw new FormatError(file, "the mark NGSP", "another", 0);
  const version = view.getUint32(4, true);
  if (version < 1 || version > most) throw new FormatError(file, "SPZ version 1 to 4", String(version), 4);
  const count = view.getUint32(8, true);
  const [degree, fractionalBits, flags] = [bytes[12], bytes[13], bytes[14]];
  if (degree > 4) throw new FormatError(file, "SH degree 0 to 4", String(degree), 12);
  if (fractionalBits > 23) throw new FormatError(file, "0 to 23 fractional bits", String(fractionalBits), 13);
  checkExpansion(count * 4 * (14 + 3 * coefficients(degree)), encoded, file, 8);
  const widths = [version === 1 ? 6 : 9, 1, 3, 3, version < 3 ? 3 : 4, 3 * coefficients(degree)];
  return { version, count, degree, fractionalBits, flags, sizes: widths.map((w) => w * count) };
}

function unpackStreams(bytes, view, file) {
  requireBytes(bytes, 0, HEADER_4, "the header of version 4", file);
  const head = header(bytes.subarray(0, HEADER), bytes.length, 4, file);
  const wanted = head.degree ? 6 : 5;
  const table = view.getUint32(16, true);
  if (bytes[15] < wanted || table < HEADER_4) {
    throw new FormatError(file, `${wanted} streams with a table behind the header`, `${bytes[15]} streams, their table at byte ${table}`, 15);
  }
  requireBytes(bytes, table, 16 * bytes[15], "the table of streams", file);
  let start = table + 16 * bytes[15];
  const streams = head.sizes.map((size, i) => {
    if (i >= wanted) return new Uint8Array(0);
    const packedSize = Number(view.getBigUint64(table + 16 * i, true));
    const unpackedSize = Number(view.getBigUint64(table + 16 * i + 8, true));
    if (unpackedSize !== size) throw new FormatError(file, `${size} bytes of ${NAMES[i]}`, String(unpackedSize), table + 16 * i + 8);
    requireBytes(bytes, start, packedSize, NAMES[i], file);
    const stream = decompress(bytes.subarray(start, start + packedSize), size, file, start);
    start += packedSize;
    return stream;
  });
  return { ...head, streams };
}

function split(body, sizes) {
  let at = 0;
  return sizes.map((size) => body.subarray(at, (at += size)));
}

/** 24-bit little-endian integers times a power of two. */
function fixedPoint(bytes, step) {
  const out = new Float32Array(bytes.length / 3);
  for (let i = 0; i < out.length; i++) {
    const word = (bytes[3 * i] << 8) | (bytes[3 * i + 1] << 16) | (bytes[3 * i + 2] << 24);
    out[i] = (word >> 8) * step;
  }
  return out;
}

function halfFloats(bytes) {
  const out = new Float32Array(bytes.length / 2);
  for (let i = 0; i < out.length; i++) {
    const half = bytes[2 * i] | (bytes[2 * i + 1] << 8);
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const size = exponent === 31 ? (fraction ? NaN : Infinity) : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
    out[i] = half & 32768 ? -size : size;
  }
  return out;
}

/** Versions 1 and 2: x, y, z in bytes; w is what is left. */
function firstThree(bytes, n) {
  const quats = new Float32Array(4 * n);
  for (let i = 0; i < n; i++) {
    const [x, y, z] = [0, 1, 2].map((a) => Math.fround(Math.fround(bytes[3 * i + a] / 127.5) - 1));
    quats.set([Math.sqrt(Math.max(0, 1 - x * x - y * y - z * z)), x, y, z], 4 * i);
  }
  return quats;
}

/** 2 bits for the largest of x, y, z, w; a sign and 9 bits for each of the others. */
function smallestThree(bytes, n) {
  const quats = new Float32Array(4 * n);
  const xyzw = new Float32Array(4);
  const unit = Math.SQRT1_2 / 511;
  for (let i = 0; i < n; i++) {
    const word = (bytes[4 * i] | (bytes[4 * i + 1] << 8) | (bytes[4 * i + 2] << 16) | (bytes[4 * i + 3] << 24)) >>> 0;
    const part = (shift) => {
      const bits = (word >>> shift) & 1023;
      return (bits & 512 ? -1 : 1) * (bits & 511) * unit;
    };
    fromSmallestThree(xyzw, 0, word >>> 30, part(20), part(10), part(0));
    quats[4 * i] = xyzw[3];
    quats.set(xyzw.subarray(0, 3), 4 * i + 1);
  }
  return quats;
}
