/**
 * Attributes of a cell's splats, predicted from neighbours that are decoded already; twin of
 * scenerep/coding/reference/attributes.py. Components: log scales 0-2, rotation 3-5, opacity 6, colour 7-9, then three
 * for each SH coefficient. A stream is decoded component after component.
 */
import { IntegerModel } from "./integer.js";
import { Mixer } from "./models.js";
import { mortonOrder } from "./morton.js";
import { CodingError } from "./range.js";

export const BASE = 10;
/** Component at which each stream (geometry, shape, opacity, colour, SH 1-3) begins. */
export const FIRST = [0, 0, 6, 7, 10, 19, 34, 55];
const NEIGHBOURS = 3;
const REACH = 8; // entries looked at on each side along a curve
const LIMIT = 1 << 24;
const SIGNED_CLASSES = 15;

const runs = (...pairs) => Uint8Array.from(pairs.flatMap(([value, count]) => new Array(count).fill(value)));
const MAGNITUDE = runs([0, 1], [1, 1], [2, 1], [3, 1], [4, 1], [5, 2], [6, 3], [7, 5], [8, 8], [9, 13], [10, 25], [11, 3]);
const SIGNED = runs([0, 1], [1, 1], [2, 1], [3, 1], [4, 2], [5, 4], [6, 8]);
const MAGNITUDES = 12;

const magnitudeClass = (x) => (x < 64 ? MAGNITUDE[x] : 11);
function signedClass(x) {
  const m = x < 0 ? -x : x;
  const c = m < 18 ? SIGNED[m] : 7;
  return x < 0 ? 7 - c : 7 + c;
}
const signClass = (x) => (x < 0 ? 0 : x > 0 ? 2 : 1);

/** The splats of a cell in coded order: layer after layer, each along the Morton curve. */
export class Cell {
  constructor(depth, degree) {
    this.depth = depth;
    this.components = BASE + 3 * ((degree + 1) ** 2 - 1);
    this.degree = degree;
    this.count = 0;
    this.reserve(0);
  }

  /** Makes room for so many splats; to be called before the first of them comes. */
  reserve(total) {
    this.x = new Int32Array(total);
    this.y = new Int32Array(total);
    this.z = new Int32Array(total);
    this.layer = new Uint8Array(total);
    this.neighbours = new Int32Array(NEIGHBOURS * total).fill(-1);
    this.values = Array.from({ length: this.components }, () => new Int32Array(total));
    this.present = Array.from({ length: this.degree }, () => new Uint8Array(total)); // whether an SH band has values
  }
}

/**
 * For each splat from `begin` on, the nearest of those before it, by squared distance on the grid, then index: of those
 * within a few places along the Morton curve of all points, and along that of the points shifted by a third of the grid.
 */
export function findNeighbours(cell, begin) {
  const { x, y, z, neighbours, count: n } = cell;
  const distances = new Float64Array(NEIGHBOURS * (n - begin));
  for (const shift of [0, Math.floor((1 << cell.depth) / 3)]) {
    const curve = mortonOrder(x, y, z, n, shift);
    for (let k = 0; k < n; k++) {
      const here = curve[k];
      if (here < begin) continue;
      const last = Math.min(n, k + REACH + 1);
      for (let at = Math.max(0, k - REACH); at < last; at++) {
        const there = curve[at];
        if (there >= here) continue;
        const [dx, dy, dz] = [x[here] - x[there], y[here] - y[there], z[here] - z[there]];
        offer(neighbours, NEIGHBOURS * here, distances, NEIGHBOURS * (here - begin), there, dx * dx + dy * dy + dz * dz);
      }
    }
  }
}

/** Offers j to a list of neighbours, which is sorted by (distance, index). */
function offer(list, l, distances, q, j, d) {
  let at = NEIGHBOURS;
  while (at > 0 && (list[l + at - 1] < 0 || d < distances[q + at - 1] || (d === distances[q + at - 1] && j < list[l + at - 1]))) at--;
  // The second curve offers again what the first one did.
  if (at === NEIGHBOURS || (at > 0 && list[l + at - 1] === j)) return;
  for (let m = NEIGHBOURS - 1; m > at; m--) {
    list[l + m] = list[l + m - 1];
    distances[q + m] = distances[q + m - 1];
  }
  list[l + at] = j;
  distances[q + at] = d;
}

/** Models and setups of a cell; decodes its streams. */
export class AttributeDecoder {
  constructor(cell) {
    this.cell = cell;
    // How the values of the first components fall into 16 classes.
    this.base = new Int32Array(BASE);
    this.shift = new Uint8Array(BASE);
    this.models = Array.from({ length: cell.components }, (_, c) => new IntegerModel(contexts(c)));
    this.present = cell.present.map(() => new Mixer([16 * 2, 16 * 2, 16 * 4], 1));
    // Of the splat that was predicted last.
    this.mean = 0;
    this.spreadClass = 0;
    this.near = 0;
  }

  /**
   * One stream, 1 (shape) to 6 (SH band 3), of the splats begin .. end.
   * @throws {CodingError}
   */
  code(decoder, stream, begin, end) {
    const [from, to] = [FIRST[stream], FIRST[stream + 1]];
    if (begin === 0) this.codeSetups(decoder, from, to);
    if (stream === 1) this.codeShape(decoder, begin, end);
    else if (stream === 2) this.codeOpacity(decoder, begin, end);
    else if (stream === 3) this.codeColour(decoder, begin, end);
    else this.codeBand(decoder, stream - 3, from, to, begin, end);
  }

  codeSetups(decoder, from, to) {
    const raw = (count) => {
      let read = 0;
      for (let left = count; left > 0; ) {
        const take = Math.min(left, 8);
        left -= take;
        read = (read << take) | decoder.raw(take);
      }
      return read;
    };
    for (let c = from; c < Math.min(to, BASE); c++) {
      this.base[c] = raw(25) - LIMIT;
      this.shift[c] = raw(5);
    }
  }

  valueClass(c, value) {
    const v = (value - this.base[c]) >> this.shift[c];
    return v < 0 ? 0 : v > 15 ? 15 : v;
  }

  class(c, i) {
    return this.valueClass(c, this.cell.values[c][i]);
  }

  layerOf(i) {
    return Math.min(this.cell.layer[i], 3);
  }

  predict(c, i) {
    const { neighbours } = this.cell;
    const values = this.cell.values[c];
    let sum = 0;
    let low = Infinity;
    let high = -Infinity;
    let m = 0;
    for (; m < NEIGHBOURS; m++) {
      const j = neighbours[NEIGHBOURS * i + m];
      if (j < 0) break;
      const v = values[j];
      sum += v;
      if (v < low) low = v;
      if (v > high) high = v;
    }
    this.near = m;
    if (m === 0) {
      this.mean = 0;
      this.spreadClass = 0;
      return;
    }
    this.mean = Math.floor((2 * sum + m) / (2 * m));
    this.spreadClass = magnitudeClass(high - low);
  }

  /**
   * Of an SH component: class of the neighbours' values (their sum, made up to three) and of 3 / 2 of their mean
   * magnitude, as one context.
   */
  shContext(c, i) {
    const { neighbours } = this.cell;
    const values = this.cell.values[c];
    let sum = 0;
    let magnitudes = 0;
    let m = 0;
    for (; m < NEIGHBOURS; m++) {
      const j = neighbours[NEIGHBOURS * i + m];
      if (j < 0) break;
      const v = values[j];
      sum += v;
      magnitudes += v < 0 ? -v : v;
    }
    this.near = m;
    if (m === 0) return MAGNITUDES * SIGNED_CLASSES + 7;
    if (m === 3) return magnitudeClass(magnitudes >> 1) * SIGNED_CLASSES + signedClass(sum);
    return magnitudeClass((3 * magnitudes) >> m) * SIGNED_CLASSES + signedClass((3 * sum) >> (m - 1));
  }

  /** Decodes component c of splat i, whose contexts are set; gives its residual. */
  value(decoder, c, i) {
    const r = this.models[c].code(decoder);
    const v = this.mean + r;
    if (v >= LIMIT || v <= -LIMIT) throw new CodingError("an attribute beyond 24 bits");
    this.cell.values[c][i] = v;
    return r;
  }

  codeShape(decoder, begin, end) {
    const [v0, v1, v2] = this.cell.values;
    for (const group of [0, 3]) {
      const errors = [0, 1, 2].map(() => new Int32Array(end - begin));
      for (let r = 0; r < 3; r++) {
        const c = group + r;
        const model = this.models[c];
        for (let i = begin; i < end; i++) {
          const k = i - begin;
          this.predict(c, i);
          const mean = this.valueClass(c, this.mean);
          const other = r ? this.class(c - 1, i) : c ? this.class(0, i) : 0;
          model.set(0, mean * 16 + other);
          model.set(1, r ? signedClass(errors[r - 1][k]) * 3 + signClass(r > 1 ? errors[0][k] : 0) : this.layerOf(i));
          model.set(2, this.spreadClass * 4 + this.near);
          if (group === 0) model.set(3, mean * 4 + this.layerOf(i));
          else model.set(3, signedClass((v0[i] - v1[i]) >> 1) * SIGNED_CLASSES + signedClass((v1[i] - v2[i]) >> 1));
          errors[r][k] = this.value(decoder, c, i);
        }
      }
    }
  }

  codeOpacity(decoder, begin, end) {
    const model = this.models[6];
    for (let i = begin; i < end; i++) {
      this.predict(6, i);
      model.set(0, this.valueClass(6, this.mean) * 4 + this.near);
      model.set(1, this.class(0, i) * 4 + this.layerOf(i));
      model.set(2, this.class(1, i) * 16 + this.class(2, i));
      this.value(decoder, 6, i);
    }
  }

  codeColour(decoder, begin, end) {
    const errors = [0, 1, 2].map(() => new Int32Array(end - begin));
    for (let c = 7; c < BASE; c++) {
      const model = this.models[c];
      for (let i = begin; i < end; i++) {
        const k = i - begin;
        this.predict(c, i);
        model.set(0, c === 7 ? this.class(0, i) : signedClass(errors[0][k]) * SIGNED_CLASSES + signedClass(errors[1][k]));
        model.set(1, this.spreadClass * 4 + this.near);
        model.set(2, this.valueClass(c, this.mean) * 16 + this.class(6, i));
        errors[c - 7][k] = this.value(decoder, c, i);
      }
    }
  }

  /** A flag for each splat whether the band has values, then those. */
  codeBand(decoder, band, from, to, begin, end) {
    const present = this.cell.present[band - 1];
    const lower = band > 1 ? this.cell.present[band - 2] : null;
    const mixer = this.present[band - 1];
    const { neighbours } = this.cell;
    for (let i = begin; i < end; i++) {
      let having = 0;
      let m = 0;
      for (; m < NEIGHBOURS; m++) {
        const j = neighbours[NEIGHBOURS * i + m];
        if (j < 0) break;
        having += present[j];
      }
      const below = lower ? lower[i] : 0;
      mixer.set(0, (having * 4 + m) * 2 + below);
      mixer.set(1, this.class(6, i) * 2 + below);
      mixer.set(2, this.class(0, i) * 4 + this.layerOf(i));
      present[i] = mixer.code(decoder, 0);
    }
    const totals = new Int32Array(end - begin); // magnitudes of the band's components up to here; capped
    for (let c = from; c < to; c++) {
      const model = this.models[c];
      const values = this.cell.values[c];
      for (let i = begin; i < end; i++) {
        if (!present[i]) continue;
        model.set(0, this.shContext(c, i));
        model.set(1, magnitudeClass(totals[i - begin]) * 16 + this.near * 4 + (this.class(6, i) >> 2));
        const v = model.code(decoder);
        if (v >= LIMIT || v <= -LIMIT) throw new CodingError("an attribute beyond 24 bits");
        values[i] = v;
        totals[i - begin] = Math.min(totals[i - begin] + Math.abs(v), 1 << 20);
      }
    }
  }
}

/** Contexts of each kind of a component. */
function contexts(c) {
  if (c < 6) return [16 * 16, SIGNED_CLASSES * 3, MAGNITUDES * 4, c < 3 ? 16 * 4 : SIGNED_CLASSES * SIGNED_CLASSES];
  if (c === 6) return [16 * 4, 16 * 4, 16 * 16];
  if (c < BASE) return [SIGNED_CLASSES * SIGNED_CLASSES, MAGNITUDES * 4, 16 * 16];
  return [(MAGNITUDES + 1) * SIGNED_CLASSES, MAGNITUDES * 16];
}
