/**
 * Decodes scenes off the main thread. Messages: {id, op, ...}; answers: {id, ...} or {id, error}.
 * ops: "cell" announces a cell of an .srz file, "push" decodes its next chunk, "whole" any other file.
 */
import { FormatError } from "../errors.js";
import { readWhole } from "../formats/detect.js";
import { SrzCell } from "../formats/srz.js";
import { coefficients } from "../formats/common.js";

const PIECE = 16384;
const cells = new Map();

const operations = {
  cell({ cell, head, chunks, file }) {
    cells.set(cell, { decoder: new SrzCell(head, chunks, file), left: chunks.length, degree: head.degree });
    return {};
  },

  push({ cell, chunk, bytes, degree }) {
    const began = performance.now();
    const known = cells.get(cell);
    const { begin, end } = known.decoder.push(chunk, bytes, degree);
    const splats = known.decoder.splats(begin, end);
    if (--known.left === 0) cells.delete(cell); // a cell of 65,536 splats keeps tens of megabytes
    return { pieces: pieces(splats, known.degree), milliseconds: performance.now() - began };
  },

  async whole({ bytes, file }) {
    const began = performance.now();
    const scene = await readWhole(bytes, file);
    const { format, version, count, degree, antialiased, shType, shSpace, metadata = {} } = scene;
    const head = { format, version, count, degree, antialiased, shType, shSpace, voxels: Boolean(scene.field) };
    if (scene.field) {
      const { buildBricks } = await import("../render/bricks.js");
      const { network, degree: shading } = scene.field;
      const field = { ...buildBricks(scene.field), network, degree: shading };
      return { head, metadata, pieces: [{ first: 0, count, field }], milliseconds: performance.now() - began };
    }
    return { head, metadata, pieces: pieces(scene, degree), milliseconds: performance.now() - began };
  },
};

const arraysOf = ({ count, means, logScales, quats, opacities, colours, sh, shSteps }) => ({ count, means, logScales, quats, opacities, colours, sh, shSteps });

/** Copies of up to 16,384 splats each, so that none takes long to hand to the GPU. */
function pieces(scene, degree) {
  if (scene.count <= PIECE) return [{ first: 0, ...arraysOf(scene) }];
  const width = 3 * coefficients(degree);
  const out = [];
  for (let first = 0; first < scene.count; first += PIECE) {
    const count = Math.min(PIECE, scene.count - first);
    const part = (array, size) => array && array.slice(first * size, (first + count) * size);
    out.push({
      first,
      count,
      means: part(scene.means, 3),
      logScales: part(scene.logScales, 3),
      quats: part(scene.quats, 4),
      opacities: part(scene.opacities, 1),
      colours: part(scene.colours, 3),
      sh: part(scene.sh, width),
      shSteps: scene.shSteps,
    });
  }
  return out;
}

function buffers(value, found = new Set()) {
  if (ArrayBuffer.isView(value)) found.add(value.buffer);
  else if (Array.isArray(value)) value.forEach((item) => buffers(item, found));
  else if (value && typeof value === "object") Object.entries(value).forEach(([key, item]) => key !== "shSteps" && buffers(item, found));
  return found;
}

self.onmessage = async ({ data }) => {
  try {
    const result = await operations[data.op](data);
    self.postMessage({ id: data.id, ...result }, [...buffers(result)]);
  } catch (error) {
    const { file, expected, found, offset, hint } = error;
    const known = error instanceof FormatError;
    self.postMessage({ id: data.id, error: known ? { file, expected, found, offset, hint } : { message: String(error?.stack ?? error) } });
  }
};
