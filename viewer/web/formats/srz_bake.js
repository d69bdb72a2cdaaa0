/** Plain splats of anchors; twin of scenerep/coding/anchored/bake.py. In float64, rounded once to float32. */
import { coefficients, colourOfDc, emptySplats, sigmoid } from "./common.js";
import { GEOMETRY, predicted, SCALES } from "./srz_anchors.js";
import { expand, writeRgb, writeRotation } from "./srz_values.js";

const WEIGHT_UNIT = 2 ** 11;
const LOG_LIMIT = 30; // of log scales and the reach: e^30 is beyond any scene
const LIMIT = 1e6; // of a logit, a colour, an offset in units of the reach

const clip = (x, limit) => Math.min(Math.max(x, -limit), limit);

/** All coupled primitives, anchor after anchor. `anchors`: of `decodeAnchors`. */
export function bake(anchors) {
  const { n, layout, origin, centre, step, radius, scaleSteps } = anchors;
  const count = n * layout.coupled;
  const k = coefficients(layout.degree);
  const scene = emptySplats(count, layout.degree);
  const predictor = new Predictor(anchors);
  const dc = new Float64Array(3);
  for (let i = 0, p = 0; i < n; i++) {
    const scales = scaleSteps.map((s, j) => clip(anchors.scales[SCALES * i + j] * s, LOG_LIMIT));
    for (let j = 0; j < layout.coupled; j++, p++) {
      const y = predictor.primitive(i, p);
      for (let a = 0; a < 3; a++) {
        const place = expand(origin[a] + anchors.positions[3 * i + a] * step, centre[a], radius);
        scene.means[3 * p + a] = place + Math.exp(scales[a]) * y[a];
        scene.logScales[3 * p + a] = clip(scales[3 + a] + y[3 + a], LOG_LIMIT);
      }
      writeRotation(scene.quats, p, y[6], y[7], y[8]);
      scene.opacities[p] = sigmoid(Math.fround(y[9]));
      writeRgb(dc, 0, y[GEOMETRY], y[GEOMETRY + 1], y[GEOMETRY + 2]);
      for (let c = 0; c < 3; c++) scene.colours[3 * p + c] = colourOfDc(dc[c]);
      for (let c = 0, at = GEOMETRY + 3; c < 3 * k; c += 3, at += 3) writeRgb(scene.sh, 3 * k * p + c, y[at], y[at + 1], y[at + 2]);
    }
  }
  return scene;
}

/** x S + H(x), x the reference and residual embedding side by side. */
class Predictor {
  constructor({ layout, weights, reference, residual, embeddingSteps }) {
    this.w = {};
    for (const [name, { rows, columns, values }] of weights) {
      const [group, which] = name.split(".");
      if (group === "prediction") this.w[which] = { rows, columns, values: Float64Array.from(values, (v) => v / WEIGHT_UNIT) };
    }
    Object.assign(this, { layout, reference, residual, embeddingSteps });
    this.x = new Float64Array(layout.reference + layout.residual);
    this.fused = new Float64Array(layout.width);
    this.deep = new Float64Array(layout.width);
    this.y = new Float64Array(predicted(layout));
  }

  /** The predicted numbers of primitive p, one of anchor i's; overwritten by the next call. */
  primitive(i, p) {
    const { w, x, fused, deep, y, embeddingSteps } = this;
    const { reference: c, residual: g } = this.layout;
    for (let j = 0; j < c; j++) x[j] = this.reference[c * i + j] * embeddingSteps[0];
    for (let j = 0; j < g; j++) x[c + j] = this.residual[g * p + j] * embeddingSteps[1];
    fused.set(w.fuse_bias.values);
    addProduct(fused, x, w.fuse);
    for (let j = 0; j < fused.length; j++) fused[j] = Math.max(fused[j], 0);
    deep.set(w.deepen_bias.values);
    addProduct(deep, fused, w.deepen);
    for (let j = 0; j < deep.length; j++) fused[j] += Math.max(deep[j], 0);
    y.set(w.bias.values);
    addProduct(y, x, w.skip);
    addProduct(y, fused, w.head);
    for (let j = 0; j < y.length; j++) y[j] = clip(y[j], LIMIT);
    return y;
  }
}

function addProduct(out, x, { columns, values }) {
  for (let j = 0, at = 0; j < x.length; j++, at += columns) {
    const v = x[j];
    if (v) for (let k = 0; k < columns; k++) out[k] += v * values[at + k];
  }
}
