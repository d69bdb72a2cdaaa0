/**
 * Opens a scene from a byte source and hands it over in pieces as they are decoded.
 *
 * @typedef {{format: string, version: number|null, count: number, degree: number, antialiased: boolean, bytes: number|null,
 *   layers: number, up: number[]|null, cameras: object[]|null, background: number[]|null, metadata: object,
 *   shType: string, shSpace: string, voxels?: boolean}} SceneHead
 *   voxels: it is no scene of splats, and its one chunk has a `field`, see render/bricks.js.
 * @typedef {{id: number, layer: number, first: number, count: number, means: Float32Array, logScales: Float32Array,
 *   quats: Float32Array, opacities: Float32Array, colours: Float32Array, sh: Int16Array|Float32Array|null,
 *   shSteps: Float32Array}} SplatChunk
 *   `first`: index of its first splat in the scene. means [3n]; quats [4n] wxyz, not normalised; opacities 0 to 1; colours
 *   [3n] = 0.5 + C0 f_dc, not clamped; sh [n][k][3], value = number * step, `shSteps` luma and chroma for each band.
 */
import { FormatError } from "../errors.js";
import { completeLayers } from "../formats/srz.js";
import { HEADER, isSrz, KINDS, readHead, readStart } from "../formats/srz_head.js";
import { nextTask } from "../tasks.js";
import { DecodePool } from "./pool.js";

const START = 16384; // bytes asked for at first: the head of most .srz files
const AT_ONCE = 1 << 18; // bytes of neighbouring chunks that are asked for together
const AHEAD = 4; // requests on their way while others are decoded

/**
 * @param {import("./source.js").ByteSource} source
 * @param {{signal?: AbortSignal, degree?: number, onHead?: (head: SceneHead) => void, onChunk?: (chunk: SplatChunk) => Promise<void>|void,
 *   onLayer?: (layer: {layers: number, layerCount: number, gain: {logScale: number, opacity: number}}) => void,
 *   onProgress?: (progress: {received: number, total: number|null, decodedMs: number}) => void}} options
 *   `onChunk` gets at most 16,384 splats; the next of the same chunk of the file when what it returned is settled.
 * @returns {Promise<{head: SceneHead, count: number}>}
 * @throws {FormatError} The file is broken; what came before has been handed over.
 */
export async function openScene(source, options = {}) {
  const { signal } = options;
  signal?.throwIfAborted();
  const pool = new DecodePool();
  let stop;
  const aborted = new Promise((_, reject) => (stop = () => reject(signal.reason)));
  signal?.addEventListener("abort", stop);
  try {
    return await Promise.race([open(guarded(source, signal), pool, options), aborted]);
  } finally {
    signal?.removeEventListener("abort", stop);
    pool.close();
  }
}

/** The source, none of whose bytes get through once the signal is aborted. */
function guarded(source, signal) {
  return {
    name: source.name,
    get size() {
      return source.size;
    },
    get received() {
      return source.received;
    },
    async read(offset, length) {
      const bytes = await source.read(offset, length);
      signal?.throwIfAborted();
      return bytes;
    },
  };
}

async function open(source, pool, options) {
  const start = await source.read(0, START);
  if (start.length === 0) throw new FormatError(source.name, "a scene", "an empty file", 0);
  if (isSrz(start)) {
    const { kind, length } = readStart(start, source.name);
    if (kind === KINDS.splats) return openSrz(source, start, length, pool, options);
  }
  return openWhole(source, pool, options);
}

const NO_GAIN = { logScale: 0, opacity: 1 };

async function openSrz(source, start, length, pool, { signal, degree = 3, onHead, onChunk, onLayer, onProgress }) {
  const bytes = start.length >= Math.max(length, HEADER) ? start : await source.read(0, Math.max(length, HEADER));
  const parsed = readHead(bytes, source.name);
  const { chunks: all, metadata, ...plain } = parsed;
  const layers = source.size === null ? parsed.layers : completeLayers(parsed, source.size, source.name);
  const chunks = all.filter((chunk) => chunk.layer < layers);
  const head = {
    format: "srz",
    version: parsed.version,
    count: parsed.count,
    degree: parsed.degree,
    antialiased: parsed.antialiased,
    bytes: source.size ?? all.at(-1)?.end ?? length,
    layers: parsed.layers,
    ...said(metadata),
    shType: "int16",
    shSpace: "ycocg",
  };
  onHead?.(head);

  const cells = new Map();
  for (const chunk of chunks) {
    if (!cells.has(chunk.cell)) cells.set(chunk.cell, []);
    cells.get(chunk.cell).push(chunk);
  }
  for (const [cell, own] of cells) {
    await pool.ask(cell, { op: "cell", cell, head: { ...plain, chunks: [] }, chunks: own.map(({ count }) => ({ count })), file: source.name });
  }

  let decodedMs = 0;
  let first = 0;
  let id = 0;
  let layer = -1;
  let pending = [];
  const left = new Array(layers).fill(0); // chunks of each layer that are not handed over yet
  for (const chunk of chunks) left[chunk.layer]++;
  let done = 0; // layers that are there in full
  // As soon as a layer's last chunk is there: the next layer may be long in coming.
  const handedOver = (chunk) => {
    left[chunk.layer]--;
    const before = done;
    while (done < layers && left[done] === 0) done++;
    if (done === before || signal?.aborted) return;
    const gain = done < parsed.layers && parsed.gains.length ? parsed.gains[done - 1] : NO_GAIN;
    onLayer?.({ layers: done, layerCount: parsed.layers, gain });
  };
  const decoded = async () => {
    await Promise.all(pending);
    signal?.throwIfAborted();
    pending = [];
  };
  for await (const { group, data } of fetched(source, batches(chunks))) {
    for (const chunk of group) {
      if (chunk.layer !== layer) {
        await decoded();
        layer = chunk.layer;
      }
      const at = chunk.offset - group[0].offset;
      const place = { id: id++, layer, first };
      first += chunk.count;
      const asked = pool
        .ask(chunk.cell, { op: "push", cell: chunk.cell, chunk, bytes: data.slice(at, at + chunk.end - chunk.offset), degree })
        .then(async ({ pieces, milliseconds }) => {
          decodedMs += milliseconds;
          for (const piece of pieces) {
            if (signal?.aborted) return;
            await onChunk?.({ ...place, ...piece, first: place.first + piece.first });
          }
          handedOver(chunk);
          onProgress?.({ received: source.received, total: head.bytes, decodedMs });
        });
      asked.catch(() => {}); // told by decoded()
      pending.push(asked);
    }
  }
  await decoded();
  return { head, count: first };
}

/** Neighbouring chunks of a layer together, up to a limit. */
function batches(chunks) {
  const groups = [];
  for (const chunk of chunks) {
    const last = groups.at(-1);
    if (last && last[0].layer === chunk.layer && chunk.end - last[0].offset <= AT_ONCE) last.push(chunk);
    else groups.push([chunk]);
  }
  return groups;
}

/** The bytes of each group, in order, some requests ahead. */
async function* fetched(source, groups) {
  const asked = [];
  let next = 0;
  let came = false;
  const ask = () => {
    const group = groups[next++];
    const promise = source.read(group[0].offset, group.at(-1).end - group[0].offset);
    promise.catch(() => {}); // told when its turn comes
    asked.push({ group, promise });
  };
  while (next < groups.length || asked.length) {
    // The first alone: others would share its way, and the first picture would wait for all of them.
    while (next < groups.length && asked.length < (came ? AHEAD : 1)) ask();
    const { group, promise } = asked.shift();
    const data = await promise;
    came = true;
    yield { group, data };
  }
}

async function openWhole(source, pool, { signal, onHead, onChunk, onLayer, onProgress }) {
  const bytes = await source.read(0, source.size ?? Number.MAX_SAFE_INTEGER);
  onProgress?.({ received: source.received, total: source.size, decodedMs: 0 });
  const size = bytes.length;
  const { head: found, metadata, pieces, milliseconds } = await pool.ask(0, { op: "whole", bytes, file: source.name });
  const head = { ...found, bytes: size, layers: 1, ...said(metadata) };
  onHead?.(head);
  for (const [id, piece] of pieces.entries()) {
    await onChunk?.({ id, layer: 0, ...piece });
    await nextTask(); // what is done with a piece may take a while
    signal?.throwIfAborted();
  }
  onLayer?.({ layers: 1, layerCount: 1, gain: NO_GAIN });
  onProgress?.({ received: source.received, total: size, decodedMs: milliseconds });
  return { head, count: head.count };
}

/** What a file says of itself, as far as it is sound. */
function said(metadata) {
  const cameras = Array.isArray(metadata.cameras) ? metadata.cameras : null;
  return { up: numbers(metadata.up, 3), cameras, background: numbers(metadata.background, 3), metadata };
}

function numbers(value, count) {
  return Array.isArray(value) && value.length === count && value.every(Number.isFinite) ? value : null;
}
