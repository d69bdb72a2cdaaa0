/** Giving the page's thread back: it has to answer the mouse while something large goes on. */

/** Resolves in a task of its own, sooner than a timer would. */
export function nextTask() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** One after the other: `turn()` resolves when `settle` has, which starts in a task after those of earlier turns. */
export class Turns {
  /** @param {() => Promise<void>} settle */
  constructor(settle) {
    this.settle = settle;
    this.last = Promise.resolve();
  }

  turn() {
    this.last = this.last.then(nextTask).then(this.settle);
    return this.last;
  }
}
