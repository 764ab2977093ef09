/**
 * The quantized linear in plain loops: what the kernels must reproduce, integers bit for bit and the float
 * operations around them in the same order.
 */
export interface QuantizedRows {
  /** int8 [rows, cols]. */
  readonly codes: Int8Array;
  readonly scales: Float32Array;
  /** The code of 0, one a row. */
  readonly zeros: Int32Array;
  /** Sum of code - zero of a row. */
  readonly sums: Int32Array;
}

/** Ranges below this count as zero, so that no reciprocal overflows. */
const LEAST_RANGE = 2 ** -100;

/**
 * Per-token asymmetric codes of x [rows, cols] times balance [cols], every operation in float32: the range includes 0;
 * with steps = 2^bits - 1 and least = -2^(bits - 1), r = steps / range, zero = nearest-even(least - min r),
 * q = nearest-even(x r) + zero in least..-least - 1.
 */
export function quantizeReference(
  x: Float32Array,
  rows: number,
  cols: number,
  balance?: Float32Array,
  bits = 8,
): QuantizedRows {
  const steps = (1 << bits) - 1;
  const least = -(1 << (bits - 1));
  const codes = new Int8Array(rows * cols);
  const scales = new Float32Array(rows);
  const zeros = new Int32Array(rows);
  const sums = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const values = x.slice(row * cols, (row + 1) * cols);
    if (balance) for (let c = 0; c < cols; c++) values[c] *= balance[c];
    const low = values.reduce((a, b) => Math.min(a, b), 0);
    const range = Math.fround(values.reduce((a, b) => Math.max(a, b), 0) - low);
    const factor = range > LEAST_RANGE ? Math.fround(steps / range) : 0;
    scales[row] = range > LEAST_RANGE ? range / steps : 0;
    zeros[row] = nearestEven(Math.fround(least - Math.fround(low * factor)));
    for (let c = 0; c < cols; c++) {
      const code = nearestEven(Math.fround(values[c] * factor)) + zeros[row];
      codes[row * cols + c] = Math.min(-least - 1, Math.max(least, code));
      sums[row] += codes[row * cols + c] - zeros[row];
    }
  }
  return { codes, scales, zeros, sums };
}

export function nearestEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/**
 * Rows of x [rows, cols] as weights: codes 0..255, asymmetric by row, the range includes 0. For attention, whose keys
 * and values are quantized when they are made.
 */
export function quantizeWeightsReference(x: Float32Array, rows: number, cols: number): Omit<CodedWeight, 'bias'> {
  const codes = new Uint8Array(rows * cols);
  const scales = new Float32Array(rows);
  const zeros = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * cols, (row + 1) * cols);
    const low = values.reduce((a, b) => Math.min(a, b), 0);
    const range = Math.fround(values.reduce((a, b) => Math.max(a, b), 0) - low);
    const factor = range > LEAST_RANGE ? Math.fround(255 / range) : 0;
    scales[row] = range > LEAST_RANGE ? range / 255 : 0;
    zeros[row] = nearestEven(Math.fround(-low * factor));
    values.forEach((value, c) => {
      const code = nearestEven(Math.fround(value * factor)) + zeros[row];
      codes[row * cols + c] = Math.min(255, Math.max(0, code));
    });
  }
  return { rows, cols, codes, scales, zeros };
}

export interface CodedWeight {
  readonly rows: number;
  readonly cols: number;
  /** Row-major codes [rows, cols], 0..255. */
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly zeros: ArrayLike<number>;
  readonly bias?: Float32Array;
}

/** sum_k (a[k] - its zero) (code[n, k] - zero[n]), exactly, for every row of `a` and output n: [rows of a, weight.rows]. */
export function integerProduct(a: QuantizedRows, weight: CodedWeight): Int32Array {
  const { rows, cols } = weight;
  const out = new Int32Array(a.scales.length * rows);
  for (let i = 0; i < a.scales.length; i++) {
    for (let n = 0; n < rows; n++) {
      let sum = 0;
      for (let k = 0; k < cols; k++) {
        sum += (a.codes[i * cols + k] - a.zeros[i]) * (weight.codes[n * cols + k] - weight.zeros[n]);
      }
      out[i * rows + n] = sum;
    }
  }
  return out;
}

/** The whole quantized linear, float32 out [rows of a, weight.rows]. */
export function linearReference(a: QuantizedRows, weight: CodedWeight): Float32Array {
  const sums = integerProduct(a, weight);
  return Float32Array.from(sums, (sum, index) => {
    const i = Math.floor(index / weight.rows);
    const n = index % weight.rows;
    const scale = Math.fround(weight.scales[n] * a.scales[i]);
    return Math.fround(Math.fround(Math.fround(sum) * scale) + (weight.bias?.[n] ?? 0));
  });
}
