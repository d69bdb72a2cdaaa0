/**
 * The distributions that the entropy model of anchors predicts, the same on every machine; twin of
 * scenerep/coding/anchored/entropy.py. Everything is whole numbers below 2^53, hence exact in whatever order it is summed.
 */
const SIGMAS = 32;
const FRACTIONS = 5;
const LOWEST_SIGMA = -3; // log2 of the narrowest standard deviation with a class of its own; four classes to an octave
const INPUT_LIMIT = 2 ** 15;
const HIDDEN_LIMIT = 2 ** 24;
const MEAN_LIMIT = 2 ** 22;
const WEIGHT_UNIT = 2 ** 8;
const OUT_UNIT = 2 ** 16;

const clip = (x, low, high) => (x < low ? low : x > high ? high : x);

/** Nothing is known of these numbers but their column. */
export function unknown(rows, columns) {
  const zeros = new Int32Array(rows * columns);
  return { means: zeros, classes: zeros, columns, count: 1, fine: 1 };
}

/**
 * The distributions of the `name` numbers (reference, scales or residual) of each row of `given`.
 * @param {Map<string, {rows: number, columns: number, values: Int32Array}>} weights
 * @param {Int32Array[]} given Tables of `n` rows, side by side the input.
 * @param {number} columns Of a table with the result: a row of it may hold several.
 * @returns {{means: Int32Array, classes: Int32Array, columns: number, count: number, fine: number}}
 */
export function predict(weights, name, given, n, columns = null) {
  const network = new IntegerNetwork(weights, name);
  const half = network.out.length / 2;
  const means = new Int32Array(n * half);
  const classes = new Int32Array(n * half);
  for (let i = 0, at = 0; i < n; i++) {
    const out = network.evaluate(given, i, n);
    for (let j = 0; j < half; j++, at++) {
      const mean = clip(out[j] / OUT_UNIT, -MEAN_LIMIT, MEAN_LIMIT);
      const nearest = Math.floor(mean + 0.5);
      const fraction = clip(Math.floor((mean - nearest + 0.5) * FRACTIONS), 0, FRACTIONS - 1);
      const sigma = clip(Math.floor((out[half + j] / OUT_UNIT - LOWEST_SIGMA) * 4), 0, SIGMAS - 1);
      means[at] = nearest;
      classes[at] = sigma * FRACTIONS + fraction;
    }
  }
  return { means, classes, columns: columns ?? half, count: SIGMAS * FRACTIONS, fine: FRACTIONS };
}

/** relu(x W1 + b1) W2 + b2: the means, then log2 of the standard deviations, all times 2^16. */
class IntegerNetwork {
  constructor(weights, name) {
    [this.hidden, this.hiddenBias, this.last, this.lastBias] = ["hidden", "hidden_bias", "out", "out_bias"].map((part) => weights.get(`${name}.${part}`));
    this.sums = new Float64Array(this.hidden.columns);
    this.out = new Float64Array(this.last.columns);
  }

  /** Of row `i` of the tables `given`, all of which have n rows; overwritten by the next call. */
  evaluate(given, i, n) {
    const { hidden, last, sums, out } = this;
    sums.set(this.hiddenBias.values);
    let row = 0;
    for (const table of given) {
      const columns = table.length / n;
      for (let j = 0; j < columns; j++, row++) {
        addRow(sums, clip(table[columns * i + j], -INPUT_LIMIT, INPUT_LIMIT), hidden.values, row);
      }
    }
    for (let k = 0; k < out.length; k++) out[k] = this.lastBias.values[k] * WEIGHT_UNIT;
    for (let j = 0; j < sums.length; j++) addRow(out, clip(sums[j], 0, HIDDEN_LIMIT), last.values, j);
    return out;
  }
}

function addRow(sums, x, matrix, row) {
  if (x === 0) return;
  for (let k = 0, at = sums.length * row; k < sums.length; k++, at++) sums[k] += x * matrix[at];
}
