/** Kind 3 of `.srz`: splats that small networks predict from anchors, as integers; twin of scenerep/coding/anchored/file.py. */
import { predict, unknown } from "../coding/anchor_entropy.js";
import { CellDecoder, StreamError } from "../coding/cell.js";
import { decodeTable } from "../coding/conditional.js";
import { CodingError } from "../coding/range.js";
import { FormatError } from "../errors.js";

const HEAD = "anchors";
const HEAD_BYTES = 104;
const CELL_SIZE = 65536;
const PRIMITIVES_PER_BYTE = 8; // a small file cannot ask for much memory
const MOST_DEPTH = 20;
const STEP_LIMIT = 1e4;
const WEIGHT_LIMIT = 1 << 15;
const INTEGER_LIMIT = 1 << 24;
export const SCALES = 6; // of an anchor: log reach along x y z, then log standard deviations
export const GEOMETRY = 10; // of the predicted numbers: offset 3, log scales 3, rotation vector 3, opacity logit 1

/** Sizes in the order of the head, with the largest allowed; the smallest is 1, of the SH degree 0. */
const LAYOUT = { coupled: 32, reference: 64, residual: 32, referenceHyper: 16, residualHyper: 4, width: 128, entropyWidth: 128, degree: 3 };

/**
 * The integers of a file.
 * @param {import("./srz_chunked.js").ChunkedFile} content
 * @throws {FormatError}
 */
export function decodeAnchors(content) {
  const head = readHead(content);
  const { n, layout } = head;
  const read = (name, p) => {
    const values = sound(() => decodeTable(content.chunk(name), p.classes, p.columns, p.count, p.fine), content, name);
    for (let i = 0; i < values.length; i++) values[i] += p.means[i];
    return values;
  };
  const shapes = weightShapes(layout);
  const weights = unpackWeights(read("weights", unknown(shapes.reduce((sum, [, rows, columns]) => sum + rows * columns, 0), 1)), shapes);
  for (const { values } of weights.values()) {
    if (beyond(values, WEIGHT_LIMIT)) throw content.fault("weights", `weights below ${WEIGHT_LIMIT}`, "a larger one");
  }
  const referenceHyper = read("reference-hyper", unknown(n, layout.referenceHyper));
  const reference = read("reference", predict(weights, "reference", [referenceHyper], n));
  const scales = read("scales", predict(weights, "scales", [reference], n));
  const residualHyper = read("residual-hyper", unknown(n, layout.coupled * layout.residualHyper));
  // A row for each coupled primitive: those of an anchor follow each other, and what was coded above helps.
  const residual = read("residual", predict(weights, "residual", [reference, residualHyper], n, layout.residual));
  const positions = readPositions(content, n, head.depth);
  for (const [name, values] of Object.entries({ reference, scales, residual, "reference-hyper": referenceHyper, "residual-hyper": residualHyper })) {
    if (beyond(values, INTEGER_LIMIT)) throw content.fault(name, "integers within their limits", "a larger one");
  }
  return { ...head, positions, reference, scales, residual, referenceHyper, residualHyper, weights };
}

const beyond = (values, limit) => values.some((v) => v >= limit || v <= -limit);

function sound(decode, content, name) {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof CodingError) && !(error instanceof StreamError)) throw error;
    throw content.fault(name, "a sound stream", error.message);
  }
}

function readHead(content) {
  const bytes = content.chunk(HEAD);
  if (bytes.length !== HEAD_BYTES) throw content.fault(HEAD, `${HEAD_BYTES} bytes`, String(bytes.length));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const n = view.getUint32(0, true);
  const layout = {};
  Object.entries(LAYOUT).forEach(([name, most], i) => {
    const size = bytes[4 + i];
    if (size > most || (size === 0 && name !== "degree")) throw content.fault(HEAD, `${name} of at most ${most}`, String(size), 4 + i);
    layout[name] = size;
  });
  const depth = bytes[12];
  const origin = [16, 24, 32].map((at) => view.getFloat64(at, true));
  const centre = [40, 48, 56].map((at) => view.getFloat64(at, true));
  const [step, radius, ...steps] = Array.from({ length: 10 }, (_, i) => view.getFloat32(64 + 4 * i, true));
  const grid = [...origin, ...centre, step, radius];
  if (!grid.every(Number.isFinite) || !(step > 0) || radius < 0 || depth < 1 || depth > MOST_DEPTH) {
    throw content.fault(HEAD, "a usable grid", `a step of ${step}, a radius of ${radius}, a depth of ${depth}`, 12);
  }
  if (!steps.every((s) => s > 0 && s < STEP_LIMIT)) throw content.fault(HEAD, `positive steps below ${STEP_LIMIT}`, steps.join(", "), HEAD_BYTES - 32);
  const room = PRIMITIVES_PER_BYTE * [...content.chunks.values()].reduce((sum, chunk) => sum + chunk.length, 0);
  if (n * layout.coupled !== content.count || content.count > room || layout.degree !== content.degree) {
    const found = `${n} x ${layout.coupled} of degree ${layout.degree}, at most ${room}`;
    throw content.fault(HEAD, `${content.count} primitives of SH degree ${content.degree}`, found);
  }
  return { n, layout, depth, origin, centre, step, radius, embeddingSteps: steps.slice(0, 2), scaleSteps: steps.slice(2) };
}

/** Predicted numbers of a primitive. */
export const predicted = (layout) => GEOMETRY + 3 * (layout.degree + 1) ** 2;

/** Name, rows and columns of each array of weights, in the order of the file; a bias has one row. */
function weightShapes(layout) {
  const { coupled, reference: c, residual: g, referenceHyper, residualHyper, width: w, entropyWidth: e } = layout;
  const d = predicted(layout);
  const network = (name, given, found) => [
    [`${name}.hidden`, given, e],
    [`${name}.hidden_bias`, 1, e],
    [`${name}.out`, e, 2 * found],
    [`${name}.out_bias`, 1, 2 * found],
  ];
  return [
    ["prediction.skip", c + g, d],
    ["prediction.fuse", c + g, w],
    ["prediction.fuse_bias", 1, w],
    ["prediction.deepen", w, w],
    ["prediction.deepen_bias", 1, w],
    ["prediction.head", w, d],
    ["prediction.bias", 1, d],
    ...network("reference", referenceHyper, c),
    ...network("scales", c, SCALES),
    ...network("residual", c + coupled * residualHyper, coupled * g),
  ];
}

function unpackWeights(values, shapes) {
  const weights = new Map();
  let at = 0;
  for (const [name, rows, columns] of shapes) {
    weights.set(name, { rows, columns, values: values.subarray(at, at + rows * columns) });
    at += rows * columns;
  }
  return weights;
}

/** Grid coordinates [n][3]. */
function readPositions(content, n, depth) {
  const positions = new Int32Array(3 * n);
  for (let first = 0, i = 0; first < n; first += CELL_SIZE, i++) {
    const name = `positions.${i}`;
    const count = Math.min(CELL_SIZE, n - first);
    const { cell } = sound(() => {
      const decoder = new CellDecoder(depth, 0, count);
      decoder.push([content.chunk(name)], count, 0);
      return decoder;
    }, content, name);
    for (let k = 0, at = 3 * first; k < count; k++, at += 3) positions.set([cell.x[k], cell.y[k], cell.z[k]], at);
  }
  return positions;
}
