/** Workers that decode; a cell always goes to the same one. */
import { FormatError } from "../errors.js";

const MOST = 4;

export class DecodePool {
  constructor(count = Math.max(1, Math.min(MOST, navigator.hardwareConcurrency || 2))) {
    this.waiting = new Map();
    this.next = 0;
    this.closed = false;
    this.workers = Array.from({ length: count }, () => {
      const worker = new Worker(new URL("./decode_worker.js", import.meta.url), { type: "module" });
      worker.onmessage = ({ data }) => this.answer(data);
      worker.onerror = (event) => this.fail(new Error(`the decoder stopped: ${event.message || "it could not be loaded"}`));
      return worker;
    });
  }

  /** Sends a message to worker `which`; resolves with its answer. `bytes` are handed over, not copied. */
  ask(which, message) {
    const id = this.next++;
    const transfer = message.bytes ? [message.bytes.buffer] : [];
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(closedError());
      this.waiting.set(id, { resolve, reject });
      this.workers[which % this.workers.length].postMessage({ id, ...message }, transfer);
    });
  }

  answer({ id, error, ...rest }) {
    const asked = this.waiting.get(id);
    this.waiting.delete(id);
    if (!asked) return;
    if (!error) asked.resolve(rest);
    else asked.reject(error.expected ? new FormatError(error.file, error.expected, error.found, error.offset, error.hint) : new Error(error.message));
  }

  fail(error) {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  close() {
    this.workers.forEach((worker) => worker.terminate());
    this.closed = true;
    this.fail(closedError());
  }
}

const closedError = () => new DOMException("the scene was closed", "AbortError");
