/**
 * The quantized linear in plain loops: what the kernels must reproduce, integers bit for bit and the float
 * operations around them in the same order.
 */
export interface QuantizedRows {
  /** int8 [rows, cols]. */
  readonly codes: Int8Array;
  readonly scales: Float32Array;
  readonly sums: Int32Array;
}

/** Per-token symmetric int8 of x [rows, cols] times balance [cols]: r = 127 / absmax in float32, nearest-even, -127..127. */
export function quantizeReference(x: Float32Array, rows: number, cols: number, balance?: Float32Array): QuantizedRows {
  const value = (row: number, c: number) => Math.fround(x[row * cols + c] * (balance?.[c] ?? 1));
  const out = { codes: new Int8Array(rows * cols), scales: new Float32Array(rows), sums: new Int32Array(rows) };
  for (let row = 0; row < rows; row++) {
    let absmax = 0;
    for (let c = 0; c < cols; c++) absmax = Math.max(absmax, Math.abs(value(row, c)));
    const factor = absmax > 0 ? Math.fround(127 / absmax) : 0;
    out.scales[row] = absmax / 127;
    for (let c = 0; c < cols; c++) {
      const scaled = Math.fround(value(row, c) * factor);
      const code = Number.isNaN(scaled) ? 0 : nearestEven(Math.min(127, Math.max(-127, scaled)));
      out.codes[row * cols + c] = code;
      out.sums[row] += code;
    }
  }
  return out;
}

function nearestEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
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

/** sum_k a[k] (code[n, k] - zero[n]), exactly, for every row of `a` and every output n: [rows of a, weight.rows]. */
export function integerProduct(a: QuantizedRows, weight: CodedWeight): Int32Array {
  const rows = a.scales.length;
  const out = new Int32Array(rows * weight.rows);
  for (let i = 0; i < rows; i++) {
    for (let n = 0; n < weight.rows; n++) {
      let sum = 0;
      for (let k = 0; k < weight.cols; k++) sum += a.codes[i * weight.cols + k] * weight.codes[n * weight.cols + k];
      out[i * weight.rows + n] = sum - weight.zeros[n] * a.sums[i];
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
