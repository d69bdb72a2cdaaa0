/**
 * Where the bytes of a scene come from: a file the user picked, a buffer, or a URL.
 *
 * A URL is read by HTTP ranges where the server has them, so that what matters most is fetched first; else by one GET
 * whose bytes are handed out as they arrive. A connection that drops, stalls or is refused for the moment is taken up
 * again where it broke off. ETag and If-Range make sure that all bytes are of one and the same file.
 *
 * @typedef {object} ByteSource
 * @property {string} name  for people: a file name, never a path
 * @property {number|null} size  bytes; null until it is known (a stream whose server does not say)
 * @property {boolean} ranged  whether any part can be had without what lies before it
 * @property {number} received  bytes that have come so far; what a second read fetches again counts again
 * @property {(offset: number, length: number) => Promise<Uint8Array>} read  fewer bytes than asked for only at the end
 *   of the file; rejects with a SourceError
 * @property {() => void} close  ends all transfers; reads that wait are rejected
 */

import { nextTask } from "../tasks.js";

/** Bytes of the first request. The head of an .srz and of the other formats mostly lies within. */
export const FIRST_BYTES = 65536;
/** How often a request is tried again before the source gives up, if no byte came in between. */
export const MAX_RETRIES = 6;
/** The same for a server that has not answered at all: it mostly never will, or is not allowed to. */
const MAX_FIRST_RETRIES = 2;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8000;
/** A connection without a byte for so long counts as dropped. */
const STALL_MS = 20000;
/** An ArrayBuffer holds no more than this in today's browsers. Only a streamed file has to fit as a whole. */
const MAX_STREAMED = 2 ** 31 - 1;
/** Bytes of a block of what was streamed, and how many of them are copied in one go. */
const BLOCK = 1 << 20;
const AT_ONCE = 8;

/** The bytes cannot be had. `hint` says what a person can do. */
export class SourceError extends Error {
  /**
   * @param {string} source  name of the source
   * @param {string} reason
   * @param {{hint?: string, status?: number, cause?: unknown}} [more]
   */
  constructor(source, reason, { hint = "", status = 0, cause } = {}) {
    super(`${source}: ${reason}`, { cause });
    this.name = "SourceError";
    this.source = source;
    this.reason = reason;
    this.hint = hint;
    this.status = status;
  }
}

/**
 * A file that the user picked or dropped; it is read in place and goes nowhere.
 * @param {File} file
 * @returns {ByteSource}
 */
export function fileSource(file) {
  return {
    name: file.name,
    size: file.size,
    ranged: true,
    received: 0,
    async read(offset, length) {
      checkRange(this.name, offset, length);
      try {
        const bytes = new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
        this.received = Math.min(this.received + bytes.length, file.size);
        return bytes;
      } catch (cause) {
        throw new SourceError(file.name, "the browser can no longer read this file", {
          hint: "it was changed, moved or deleted: choose it again",
          cause,
        });
      }
    },
    close() {},
  };
}

/**
 * Bytes that are here already.
 * @param {string} name
 * @param {ArrayBuffer} buffer
 * @returns {ByteSource}
 */
export function bufferSource(name, buffer) {
  return {
    name,
    size: buffer.byteLength,
    ranged: true,
    received: buffer.byteLength,
    async read(offset, length) {
      checkRange(name, offset, length);
      return new Uint8Array(buffer.slice(offset, offset + length));
    },
    close() {},
  };
}

/**
 * Opens a URL; the first bytes are there when the promise is fulfilled.
 * @param {string|URL} url
 * @param {{signal?: AbortSignal, name?: string, onProgress?: (state: {received: number, size: number|null}) => void,
 *   onRetry?: (state: {attempt: number, waitMs: number, error: SourceError}) => void}} [options]
 * @returns {Promise<ByteSource>}
 */
export async function urlSource(url, options = {}) {
  const link = new Link(new URL(url, globalThis.location?.href), options);
  const first = await link.retrying(() => link.request({ offset: 0, length: FIRST_BYTES }));
  if (first.response.status === 206) return RangedSource.open(link, first);
  if (first.response.status === 200) return new StreamedSource(link, first);
  // 416: an empty file has no first byte.
  first.stop();
  first.end();
  return new StreamedSource(link, await link.retrying(() => link.request(null)));
}

/** One URL and what is known of it: requests, retries, and the check that the file stays the same. */
class Link {
  constructor(url, { signal, name, onProgress, onRetry }) {
    this.url = url.href;
    this.name = name ?? (decodeURIComponentSafely(url.pathname.split("/").pop()) || url.host);
    this.onProgress = onProgress ?? (() => {});
    this.onRetry = onRetry ?? (() => {});
    this.controller = new AbortController();
    this.etag = /** @type {string|null} */ (null);
    this.size = /** @type {number|null} */ (null);
    this.reached = false; // whether the server has ever answered
    this.progress = 0; // bytes of all transfers: a retry after progress starts counting anew
    if (signal?.aborted) this.controller.abort(signal.reason);
    signal?.addEventListener("abort", () => this.controller.abort(signal.reason), { once: true });
  }

  /**
   * One request, up to its header. The body's reader is guarded against stalls.
   * @param {{offset: number, length: number}|null} range  null: the whole file
   */
  async request(range) {
    const headers = new Headers();
    if (range) headers.set("Range", `bytes=${range.offset}-${range.offset + range.length - 1}`);
    if (range && this.etag) headers.set("If-Range", this.etag);
    const transfer = new AbortController();
    const stop = () => transfer.abort();
    this.controller.signal.addEventListener("abort", stop);
    const end = () => this.controller.signal.removeEventListener("abort", stop);
    let response;
    try {
      this.throwIfAborted();
      response = await withTimeout(
        fetch(this.url, { headers, signal: transfer.signal, credentials: "same-origin" }),
        stop,
      );
    } catch (cause) {
      end();
      this.throwIfAborted();
      throw new Dropped(
        new SourceError(this.name, "the server does not answer", {
          hint: "check the connection; the other site may also not allow this page to read from it (CORS)",
          cause,
        }),
      );
    }
    this.reached = true;
    if (response.status !== 200 && response.status !== 206 && !(response.status === 416 && range)) {
      transfer.abort();
      end();
      const error = new SourceError(this.name, `the server answers ${response.status} ${response.statusText}`.trim(), {
        hint: response.status === 404 ? "the address is wrong, or the file is no longer there" : "try again later",
        status: response.status,
      });
      throw [408, 425, 429].includes(response.status) || response.status >= 500 ? new Dropped(error) : error;
    }
    const etag = response.headers.get("ETag");
    if (this.etag && etag && etag !== this.etag) {
      transfer.abort();
      end();
      throw this.changed();
    }
    // Weak ETags promise no equal bytes and are not allowed in If-Range.
    if (!this.etag && etag && !etag.startsWith("W/")) this.etag = etag;
    return { response, reader: response.body.getReader(), stop, end };
  }

  /** Hands every piece of a body to `take`, which may return false to end the transfer early. */
  async drain({ reader, stop, end }, take) {
    try {
      for (;;) {
        let piece;
        try {
          piece = await withTimeout(reader.read(), stop);
        } catch (cause) {
          this.throwIfAborted();
          throw new Dropped(
            new SourceError(this.name, "the connection broke off", { hint: "check the connection", cause }),
          );
        }
        if (piece.done) return;
        this.progress += piece.value.length;
        if (take(piece.value) === false) {
          stop();
          return;
        }
      }
    } finally {
      end();
    }
  }

  /** Runs `work` again, after a growing pause, as long as what it throws is Dropped. */
  async retrying(work) {
    let failures = 0;
    for (;;) {
      const before = this.progress;
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Dropped)) throw error;
        failures = this.progress > before ? 1 : failures + 1;
        if (failures > (this.reached ? MAX_RETRIES : MAX_FIRST_RETRIES)) throw error.error;
        // Half of the pause is random, so that many readers do not come back all at once.
        const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
        this.onRetry({ attempt: failures, waitMs: pause, error: error.error });
        await this.pause(pause);
      }
    }
  }

  pause(milliseconds) {
    return new Promise((resolve, reject) => {
      const { signal } = this.controller;
      const stop = () => {
        clearTimeout(timer);
        reject(this.abortReason());
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", stop);
        resolve(undefined);
      }, milliseconds);
      signal.addEventListener("abort", stop, { once: true });
    });
  }

  changed() {
    return new SourceError(this.name, "the file was changed while it was read", { hint: "reload the page" });
  }

  abortReason() {
    return new SourceError(this.name, "the transfer was stopped", { cause: this.controller.signal.reason });
  }

  throwIfAborted() {
    if (this.controller.signal.aborted) throw this.abortReason();
  }
}

/** A failure that may pass by itself. */
class Dropped extends Error {
  /** @param {SourceError} error */
  constructor(error) {
    super(error.message);
    this.error = error;
  }
}

class RangedSource {
  /** Reads the answer to the first request. */
  static async open(link, first) {
    const range = parseContentRange(first.response.headers.get("Content-Range"));
    if (!range || range.start !== 0 || range.size === null) {
      // Answers without the size are allowed by HTTP but useless here.
      first.stop();
      first.end();
      return new StreamedSource(link, await link.retrying(() => link.request(null)));
    }
    link.size = range.size;
    const source = new RangedSource(link);
    source.head = new Uint8Array(Math.min(FIRST_BYTES, range.size));
    await source.fetch(0, source.head, first);
    return source;
  }

  constructor(link) {
    this.link = link;
    this.name = link.name;
    this.size = link.size;
    this.ranged = true;
    this.received = 0;
    this.head = new Uint8Array(0);
  }

  async read(offset, length) {
    checkRange(this.name, offset, length);
    const end = Math.min(offset + length, this.size);
    if (end <= offset) return new Uint8Array(0);
    const known = this.head.subarray(Math.min(offset, this.head.length), Math.min(end, this.head.length));
    if (known.length === end - offset) return known.slice();
    const whole = new Uint8Array(end - offset);
    whole.set(known);
    await this.fetch(offset + known.length, whole.subarray(known.length));
    return whole;
  }

  /** Fills `bytes` with those from `offset` on, all of which exist. `first`: a request for them that is under way. */
  async fetch(offset, bytes, first = null) {
    const { link } = this;
    const { length } = bytes;
    let filled = 0;
    await link.retrying(async () => {
      if (filled === length) return;
      const request = first ?? (await link.request({ offset: offset + filled, length: length - filled }));
      first = null;
      const range = parseContentRange(request.response.headers.get("Content-Range"));
      // 200: If-Range failed, or the server forgot that it had ranges; 416: the file has become shorter.
      if (request.response.status !== 206 || range?.start !== offset + filled || range.size !== this.size) {
        request.stop();
        request.end();
        throw link.changed();
      }
      await link.drain(request, (piece) => {
        const used = piece.subarray(0, length - filled);
        bytes.set(used, filled);
        filled += used.length;
        this.received += used.length;
        link.onProgress({ received: this.received, size: this.size });
        return filled < length;
      });
      if (filled < length) throw new Dropped(new SourceError(this.name, "the connection broke off"));
    });
  }

  close() {
    this.link.controller.abort();
  }
}

/** One GET from front to end. Reads wait until their bytes have come. */
class StreamedSource {
  constructor(link, first) {
    this.link = link;
    this.name = link.name;
    this.ranged = false;
    this.received = 0;
    this.size = /** @type {number|null} */ (null);
    this.blocks = []; // of BLOCK bytes each. Grown as bytes come, not as the header promises
    this.error = /** @type {unknown} */ (null);
    this.done = false;
    this.waiting = new Set();
    this.setSize(first.response);
    this.receive(first).catch((error) => {
      this.error = error;
      this.wake();
    });
  }

  async read(offset, length) {
    checkRange(this.name, offset, length);
    for (;;) {
      if (this.received >= offset + length || this.done) {
        return this.copy(Math.min(offset, this.received), Math.min(offset + length, this.received));
      }
      if (this.error) throw this.error;
      await new Promise((resolve) => this.waiting.add(resolve));
    }
  }

  /** Bytes begin .. end, with pauses: a hundred megabytes at once would hold up the page. */
  async copy(begin, end) {
    const out = new Uint8Array(end - begin);
    for (let at = begin, copied = 0; at < end; copied++) {
      if (copied > 0 && copied % AT_ONCE === 0) await nextTask();
      const block = Math.floor(at / BLOCK);
      const part = this.blocks[block].subarray(at - block * BLOCK, Math.min(BLOCK, end - block * BLOCK));
      out.set(part, at - begin);
      at += part.length;
    }
    return out;
  }

  close() {
    this.link.controller.abort();
  }

  async receive(first) {
    const { link } = this;
    await link.retrying(async () => {
      const request = first ?? (await link.request(null));
      if (first === null) this.setSize(request.response);
      first = null;
      let position = 0; // this server starts from the front each time
      await link.drain(request, (piece) => {
        const fresh = piece.subarray(Math.max(0, Math.min(piece.length, this.received - position)));
        position += piece.length;
        this.append(fresh);
      });
      if (position < this.received || (this.size !== null && this.received < this.size)) {
        throw new Dropped(new SourceError(this.name, "the connection broke off"));
      }
    });
    this.size = this.received;
    this.done = true;
    link.onProgress({ received: this.received, size: this.size });
    this.wake();
  }

  setSize(response) {
    const length = response.headers.get("Content-Length");
    // With a content coding this is the length of what travels, not of the file.
    const size = length === null || response.headers.get("Content-Encoding") ? null : Number(length);
    if (size !== null && this.size !== null && size !== this.size) throw this.link.changed();
    if (size !== null && size > MAX_STREAMED) throw this.tooLarge();
    this.size = size ?? this.size;
  }

  append(fresh) {
    if (fresh.length === 0) return;
    const needed = this.received + fresh.length;
    if (needed > MAX_STREAMED) throw this.tooLarge();
    for (let done = 0; done < fresh.length; ) {
      const at = (this.received + done) % BLOCK;
      if (at === 0) this.blocks.push(new Uint8Array(BLOCK));
      const part = fresh.subarray(done, done + BLOCK - at);
      this.blocks.at(-1).set(part, at);
      done += part.length;
    }
    this.received = needed;
    this.link.onProgress({ received: this.received, size: this.size });
    this.wake();
  }

  tooLarge() {
    return new SourceError(this.name, "more than 2 GiB from a server without Range requests", {
      hint: "put the file on a server that answers Range requests",
    });
  }

  wake() {
    for (const resolve of this.waiting) resolve(undefined);
    this.waiting.clear();
  }
}

function checkRange(name, offset, length) {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
    throw new SourceError(name, `bytes ${offset} to ${offset + length} were asked for`);
  }
}

/** `bytes 0-99/1234` to {start, size}; size null where the server does not know it. */
function parseContentRange(text) {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text ?? "");
  return match && { start: Number(match[1]), size: match[3] === "*" ? null : Number(match[3]) };
}

function decodeURIComponentSafely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The promise, or a rejection after STALL_MS, which also stops the transfer. */
function withTimeout(promise, stop) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => {
      stop();
      reject(new Error(`nothing came for ${STALL_MS / 1000} seconds`));
    }, STALL_MS);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}
