/** Asks a worker for the order of a scene's splats; at most one question is open, and only the newest waits. */
import { FAR, NEAR } from "./constants.js";

export class Sorter {
  /**
   * @param {(order: Uint32Array, info: {loaded: number, milliseconds: number}) => Promise<void>|void} onOrder
   *   The next order is asked for when what it returned is settled.
   */
  constructor(capacity, onOrder) {
    this.worker = new Worker(new URL("./sort_worker.js", import.meta.url), { type: "module" });
    this.onOrder = onOrder;
    this.open = new Map();
    this.next = 0;
    this.running = false;
    this.waiting = null;
    this.worker.onmessage = ({ data }) => {
      const resolve = this.open.get(data.id);
      this.open.delete(data.id);
      resolve?.(data);
    };
    this.worker.postMessage({ op: "begin", capacity });
  }

  add(means, importance) {
    const copy = means.slice(); // handed over; the chunk keeps its own for picking
    this.worker.postMessage({ op: "add", means: copy, importance }, [copy.buffer, importance.buffer]);
  }

  setBudget(most) {
    this.worker.postMessage({ op: "budget", most });
  }

  /** The order for one camera, whatever else is going on. */
  ask(row) {
    const id = this.next++;
    return new Promise((resolve) => {
      this.open.set(id, resolve);
      this.worker.postMessage({ op: "sort", id, row, near: NEAR, far: FAR });
    });
  }

  /** The order for the camera of now: `onOrder` gets it, or a newer one. */
  async request(row) {
    if (this.running) {
      this.waiting = row;
      return;
    }
    this.running = true;
    const { order, loaded, milliseconds } = await this.ask(row);
    await this.onOrder(order, { loaded, milliseconds });
    this.running = false;
    if (this.waiting) {
      const next = this.waiting;
      this.waiting = null;
      this.request(next);
    }
  }

  dispose() {
    this.worker.terminate();
    this.open.clear();
  }
}
