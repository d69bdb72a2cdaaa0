/** What the tests ask of the decoders, in a page or in a worker. Arrays go back to Python as base64. */
import { decodeAnchors } from "/formats/srz_anchors.js";
import { ChunkedFile } from "/formats/srz_chunked.js";
import { decodeParts } from "/formats/srz_codebooks.js";
import { decodeSplats } from "/formats/srz.js";
import { KINDS, readStart } from "/formats/srz_head.js";
import { openScene } from "/load/load.js";

export async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** A byte source of what is here already. */
export function sourceOf(bytes, name) {
  return {
    name,
    size: bytes.length,
    received: bytes.length,
    async read(offset, length) {
      return bytes.slice(offset, offset + length);
    },
    close() {},
  };
}

export function base64(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}

async function sha256(parts) {
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** The integers of a file of kind 1 in the order in which `QuantisedSplats.digest` takes them. */
function integers({ spans }) {
  const cells = spans.map(({ decoder, begin, end }) => ({ cell: decoder.decoder.cell, begin, end }));
  const rows = (columnsOf) =>
    cells.map(({ cell, begin, end }) => {
      const columns = columnsOf(cell);
      const out = new Int32Array(columns.length * (end - begin));
      for (let i = begin, at = 0; i < end; i++) for (const column of columns) out[at++] = column[i];
      return out;
    });
  const spread = [[0, 3], [3, 6], [6, 7], [7, 10], [10]].map(([from, to]) => rows((cell) => cell.values.slice(from, to)));
  return [rows((cell) => [cell.x, cell.y, cell.z]), ...spread, cells.map(({ cell, begin, end }) => cell.layer.subarray(begin, end))].flat();
}

/** The digest that Python gives for a file of any kind. */
export async function digest(bytes, file) {
  if (readStart(bytes, file).kind === KINDS.splats) return sha256(integers(decodeSplats(bytes, file)));
  const content = new ChunkedFile(bytes, file);
  if (content.kind === KINDS.anchors) {
    const a = decodeAnchors(content);
    const weights = [...a.weights.values()].map(({ values }) => values);
    return sha256([a.positions, a.reference, a.scales, a.residual, a.referenceHyper, a.residualHyper, ...weights]);
  }
  const parts = [];
  for (const { splats, books } of decodeParts(content)) {
    parts.push(await sha256(integers(splats)));
    for (const { attribute, step, rows, indices } of books) parts.push(attribute, Float32Array.of(step), rows, indices);
  }
  return sha256(parts);
}

const WIDTHS = { means: 3, logScales: 3, quats: 4, opacities: 1, colours: 3 };

/** A scene as `openScene` hands it over, its pieces put together. */
export async function opened(bytes, file, options = {}) {
  const seen = { head: null, layers: [], ids: [], pieces: [] };
  let result;
  try {
    result = await openScene(sourceOf(bytes, file), {
      ...options,
      onHead: (head) => (seen.head = head),
      onChunk: (chunk) => {
        seen.ids.push(chunk.id);
        seen.pieces.push(chunk);
      },
      onLayer: (layer) => seen.layers.push({ ...layer, splats: seen.pieces.reduce((sum, piece) => sum + piece.count, 0) }),
    });
  } catch (error) {
    seen.error = told(error);
  }
  const count = seen.pieces.reduce((most, { first, count }) => Math.max(most, first + count), 0);
  const k = seen.head ? 3 * ((seen.head.degree + 1) ** 2 - 1) : 0;
  const out = { head: seen.head, layers: seen.layers, ids: seen.ids, sizes: seen.pieces.map((piece) => piece.count), count, error: seen.error ?? null, result: result?.count ?? null };
  out.shSteps = seen.pieces.length ? [...seen.pieces[0].shSteps] : [];
  const put = (name, width, type) => {
    const whole = new type(width * count);
    for (const piece of seen.pieces) if (piece[name]) whole.set(piece[name], width * piece.first);
    out[name] = base64(whole);
  };
  for (const [name, width] of Object.entries(WIDTHS)) put(name, width, Float32Array);
  if (k) put("sh", k, seen.pieces[0]?.sh?.constructor ?? Float32Array);
  return out;
}

/** What of an error can leave the page. */
export function told(error) {
  return { name: error.name, message: error.message, offset: error.offset ?? null, expected: error.expected ?? null, found: error.found ?? null, file: error.file ?? null };
}

/**
 * What a worker makes of each of many files; one that takes longer than `patience` milliseconds is a hang.
 * @param {Uint8Array} all The files, one after the other.
 * @param {number[]} sizes
 */
export async function outcomes(all, file, sizes, patience) {
  const results = [];
  let worker = null;
  const answer = () =>
    new Promise((resolve) => {
      const timer = setTimeout(() => resolve({ hang: true }), patience);
      worker.onmessage = ({ data }) => {
        clearTimeout(timer);
        resolve(data);
      };
    });
  let at = 0;
  for (const size of sizes) {
    if (worker === null) {
      worker = new Worker("/tests/mutation_worker.js", { type: "module" });
      await answer();
    }
    worker.postMessage({ bytes: all.slice(at, at + size), file });
    const result = await answer();
    results.push(result);
    if (result.hang) {
      worker.terminate();
      worker = null;
    }
    at += size;
  }
  worker?.terminate();
  return results;
}
