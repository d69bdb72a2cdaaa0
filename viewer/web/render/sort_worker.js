/** Sorts the splats of one scene by depth, off the main thread. */
import { depthsOf, mostImportant, sortByDepth } from "./depth_sort.js";

let means = new Float32Array(0);
let importance = new Float32Array(0);
let count = 0;
let budget = Infinity;
let active = null;
let stale = false; // `active` no longer fits what is here
let scratch = { depths: new Float32Array(0), indices: new Uint32Array(0) };

const operations = {
  begin({ capacity }) {
    means = new Float32Array(3 * capacity);
    importance = new Float32Array(capacity);
    scratch = { depths: new Float32Array(capacity), indices: new Uint32Array(capacity) };
    count = 0;
    stale = true;
  },

  add({ means: more, importance: theirs }) {
    means.set(more, 3 * count);
    importance.set(theirs, count);
    count += theirs.length;
    stale = true;
  },

  budget({ most }) {
    budget = most;
    stale = true;
  },

  sort({ id, row, near, far }) {
    const began = performance.now();
    if (stale) active = mostImportant(importance, count, budget);
    stale = false;
    const found = depthsOf(means, count, row, near, far, active, scratch);
    const order = sortByDepth(scratch.depths, scratch.indices, found);
    self.postMessage({ id, order, loaded: count, milliseconds: performance.now() - began }, [order.buffer]);
  },
};

self.onmessage = ({ data }) => operations[data.op](data);
