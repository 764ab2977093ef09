import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assembleKernels } from './assemble.ts';
import { instantiateKernels, type Kernels, linearScratchBytes, supportedVariants } from './load.ts';
import { type CodedWeight, linearReference, type QuantizedRows, quantizeReference } from './reference.ts';

/** A kernel instance with a bump allocator over its memory. */
function open(variant: 'simd' | 'relaxed') {
  const memory = new WebAssembly.Memory({ initial: 512 });
  const module = (name: 'float' | typeof variant) => new WebAssembly.Module(assembleKernels(name));
  const kernels = instantiateKernels(module('float'), module(variant), memory, variant);
  let top = 1024;
  const take = (bytes: number) => {
    const at = top;
    top = (top + bytes + 63) & ~63;
    return at;
  };
  return {
    kernels,
    take,
    floats(data: ArrayLike<number>) {
      const at = take(4 * (data.length + 16));
      new Float32Array(memory.buffer, at).set(data);
      return at;
    },
    bytes(data: Uint8Array | Int8Array, slack = 0) {
      const at = take(data.length + slack);
      new Uint8Array(memory.buffer, at).set(new Uint8Array(data.buffer, data.byteOffset, data.length));
      return at;
    },
    ints(data: ArrayLike<number>) {
      const at = take(4 * (data.length + 16));
      new Int32Array(memory.buffer, at).set(data);
      return at;
    },
    readFloats: (at: number, length: number) => new Float32Array(memory.buffer, at, length).slice(),
    readInts: (at: number, length: number) => new Int32Array(memory.buffer, at, length).slice(),
    readRecords: (at: number, rows: number) =>
      Array.from({ length: rows }, (_, i) => [
        new Float32Array(memory.buffer, at + 16 * i, 1)[0],
        ...new Int32Array(memory.buffer, at + 16 * i + 4, 2),
      ]),
    readBytes: (at: number, length: number) => new Int8Array(memory.buffer, at, length).slice(),
  };
}

function random(seed: number) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function panels(weight: CodedWeight, bits: 4 | 8): Uint8Array {
  const groups = weight.cols / 4;
  const codes = new Uint8Array(Math.ceil(weight.rows / 8) * groups * 32);
  for (let n = 0; n < weight.rows; n++) {
    for (let k = 0; k < weight.cols; k++) {
      codes[((n >> 3) * groups + (k >> 2)) * 32 + (n & 7) * 4 + (k & 3)] = weight.codes[n * weight.cols + k];
    }
  }
  if (bits === 8) return codes;
  return Uint8Array.from({ length: codes.length / 2 }, (_, i) => {
    const at = (i >> 4) * 32 + (i & 15);
    return codes[at] | (codes[at + 16] << 4);
  });
}

const recordsOf = ({ scales, sums, zeros }: QuantizedRows) =>
  Array.from(scales, (scale, i) => [scale, sums[i], zeros[i]]);

function rowRecords({ scales, sums, zeros }: QuantizedRows): Uint8Array {
  const view = new DataView(new ArrayBuffer(16 * scales.length));
  scales.forEach((scale, i) => {
    view.setFloat32(16 * i, scale, true);
    view.setInt32(16 * i + 4, sums[i], true);
    view.setInt32(16 * i + 8, zeros[i], true);
  });
  return new Uint8Array(view.buffer);
}

function columnRecords(weight: CodedWeight, shift: number): Uint8Array {
  const { rows, cols, codes, scales, zeros, bias } = weight;
  const view = new DataView(new ArrayBuffer(128 * Math.ceil(rows / 8)));
  for (let n = 0; n < rows; n++) {
    const at = 128 * (n >> 3) + 4 * (n & 7);
    const sum = codes.subarray(n * cols, (n + 1) * cols).reduce((a, b) => a + b - shift, 0);
    view.setFloat32(at, scales[n], true);
    view.setInt32(at + 32, zeros[n] - shift, true);
    view.setInt32(at + 64, sum, true);
    view.setFloat32(at + 96, bias![n], true);
  }
  return new Uint8Array(view.buffer);
}

type LinearCall = (kernels: Kernels) => Kernels['linear_u8'];

function runLinear(
  variant: 'simd' | 'relaxed',
  call: LinearCall,
  zeroShift: number,
  m: number,
  weight: CodedWeight,
  bits: 4 | 8,
  x: Float32Array,
) {
  const host = open(variant);
  const a = quantizeReference(x, m, weight.cols);
  const out = host.take(4 * m * weight.rows + 64);
  call(host.kernels)(
    m,
    weight.rows,
    weight.cols / 4,
    host.bytes(a.codes, 8 * weight.cols),
    host.bytes(rowRecords(a)),
    host.bytes(panels(weight, bits)),
    host.bytes(columnRecords(weight, zeroShift)),
    out,
    4 * weight.rows,
    host.take(linearScratchBytes(m, weight.cols / 4)),
  );
  return { got: host.readFloats(out, m * weight.rows), expected: linearReference(a, weight) };
}

function randomWeight(rows: number, cols: number, bits: 4 | 8, next: () => number, extreme: boolean): CodedWeight {
  const top = 2 ** bits - 1;
  const code = () => (extreme ? (next() < 0.5 ? 0 : top) : Math.floor(next() * (top + 1)));
  return {
    rows,
    cols,
    codes: Uint8Array.from({ length: rows * cols }, code),
    scales: Float32Array.from({ length: rows }, () => 0.001 + next() * 0.01),
    zeros: Float32Array.from({ length: rows }, code),
    bias: Float32Array.from({ length: rows }, () => next() - 0.5),
  };
}

const SHAPES = [
  [1, 1, 4],
  [5, 7, 8],
  [6, 8, 12],
  [7, 9, 64],
  [13, 12, 60],
  [24, 384, 384],
  [6, 16, 4608],
] as const;

for (const variant of supportedVariants()) {
  describe(`kernels, ${variant}`, () => {
    for (const bits of [4, 8] as const) {
      it(`linear_u${bits} equals the plain loops bit for bit`, () => {
        const next = random(bits);
        for (const [m, n, k] of SHAPES) {
          for (const extreme of [false, true]) {
            const weight = randomWeight(n, k, bits, next, extreme);
            const x = Float32Array.from({ length: m * k }, () =>
              extreme ? Math.sign(next() - 0.5) * 3 : next() * 6 - 3,
            );
            const shift = bits === 8 && open(variant).kernels.form === 'signed' ? 128 : 0;
            const { got, expected } = runLinear(
              variant,
              (kernels) => kernels[`linear_u${bits}`],
              shift,
              m,
              weight,
              bits,
              x,
            );
            assert.deepEqual(got, expected, `${m}x${n}x${k}${extreme ? ' extreme' : ''}`);
          }
        }
      });
    }

    it('quantizes rows as the reference, also of zeros, of subnormals and of huge values', () => {
      const host = open(variant);
      const cols = 36;
      const next = random(5);
      const rows = [0, 1e-40, 1e-38, 1, 1e30, 3e38].map((size) =>
        Array.from({ length: cols }, () => (next() - 0.5) * size),
      );
      rows.push(Array.from({ length: cols }, (_, i) => (i === 3 ? 127 : i % 7) + 0.5 * (i % 2)));
      const x = Float32Array.from(rows.flat());
      const [codes, records] = [host.take(cols * 8), host.take(256)];
      const balance = host.floats(new Float32Array(cols).fill(1));
      host.kernels.quantize(rows.length, cols, host.floats(x), 4 * cols, 0, balance, codes, records);
      const expected = quantizeReference(x, rows.length, cols);
      assert.deepEqual(host.readBytes(codes, x.length), expected.codes);
      assert.deepEqual(host.readRecords(records, rows.length), recordsOf(expected));
    });

    it('multiplies float matrices', () => {
      const next = random(9);
      for (const [m, n, k] of [
        [1, 1, 1],
        [7, 9, 5],
        [6, 8, 4],
        [13, 20, 33],
      ] as const) {
        const host = open(variant);
        const a = Float32Array.from({ length: m * k }, () => next() - 0.5);
        const w = Float32Array.from({ length: n * k }, () => next() - 0.5);
        const bias = Float32Array.from({ length: n }, () => next());
        const packed = host.take(4 * k * (n + 8));
        host.kernels.transpose_panels(n, k, host.floats(w), 4 * k, packed);
        const out = host.take(4 * m * n);
        host.kernels.gemm_f32(
          m,
          n,
          k,
          host.floats([...a, ...new Array(6 * k).fill(0)]),
          4 * k,
          packed,
          32 * k,
          32,
          host.floats(bias),
          out,
          4 * n,
          host.take(64),
        );
        const got = host.readFloats(out, m * n);
        for (let i = 0; i < m * n; i++) {
          let sum = bias[i % n];
          for (let c = 0; c < k; c++) sum += a[Math.floor(i / n) * k + c] * w[(i % n) * k + c];
          assert.ok(Math.abs(got[i] - sum) < 1e-6 * k, `${m}x${n}x${k} at ${i}: ${got[i]} ${sum}`);
        }
      }
    });

    it('computes activations and softmax to 1e-6', () => {
      const host = open(variant);
      const x = Float32Array.from({ length: 64 }, (_, i) => (i - 32) / 2.5);
      const at = host.floats(x);
      const out = host.take(256);
      host.kernels.gelu(4, 16, at, out);
      const gelu = host.readFloats(out, 64);
      host.kernels.silu(4, 16, at, out);
      const silu = host.readFloats(out, 64);
      const bias = host.floats([0, 0, -10000, Number.NEGATIVE_INFINITY, ...new Array(12).fill(0.5)]);
      host.kernels.softmax(4, 16, at, bias, 0.3);
      const soft = host.readFloats(at, 64);
      for (let row = 0; row < 4; row++) {
        const scores = [...x.subarray(row * 16, row * 16 + 16)].map((v, i) =>
          i === 2 || i === 3 ? -1e9 : v * 0.3 + (i < 4 ? 0 : 0.5),
        );
        const top = Math.max(...scores);
        const sum = scores.reduce((total, v) => total + Math.exp(v - top), 0);
        for (let i = 0; i < 16; i++) {
          const v = x[row * 16 + i];
          const tanh = 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
          assert.ok(Math.abs(gelu[row * 16 + i] - tanh) < 2e-6, `gelu ${v}`);
          assert.ok(Math.abs(silu[row * 16 + i] - v / (1 + Math.exp(-v))) < 2e-6, `silu ${v}`);
          assert.ok(Math.abs(soft[row * 16 + i] - Math.exp(scores[i] - top) / sum) < 1e-6, `softmax ${row} ${i}`);
        }
        assert.equal(soft[row * 16 + 2], 0);
        assert.equal(soft[row * 16 + 3], 0);
      }
    });

    it('normalises, modulates, gates and adds; fused passes equal their parts', () => {
      const host = open(variant);
      const next = random(3);
      const [rows, cols] = [4, 12];
      const x = Float32Array.from({ length: rows * cols }, () => next() * 4 - 1);
      const vectors = Float32Array.from({ length: 4 * cols }, () => next() - 0.5);
      const at = host.floats(x);
      const shift = host.floats(vectors);
      const scale = shift + 4 * cols;
      const out = host.take(4 * rows * cols);
      host.kernels.norm_modulate(rows, cols, at, shift, scale, 2, 8 * cols, 1e-6, out);
      const normed = host.readFloats(out, rows * cols);
      for (let r = 0; r < rows; r++) {
        const row = x.subarray(r * cols, (r + 1) * cols);
        const mean = row.reduce((a, b) => a + b) / cols;
        const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / cols;
        const base = Math.floor(r / 2) * 2 * cols;
        for (let c = 0; c < cols; c++) {
          const expected =
            ((row[c] - mean) / Math.sqrt(variance + 1e-6)) * (1 + vectors[base + cols + c]) + vectors[base + c];
          assert.ok(Math.abs(normed[r * cols + c] - expected) < 2e-6);
        }
      }
      const balance = Float32Array.from({ length: cols }, () => 0.1 + next());
      const balanceAt = host.floats(balance);
      const [line, codes, records] = [host.take(256), host.take(256), host.take(256)];
      host.kernels.norm_modulate_quantize(
        rows,
        cols,
        at,
        shift,
        scale,
        2,
        8 * cols,
        1e-6,
        line,
        balanceAt,
        codes,
        records,
      );
      const expected = quantizeReference(normed, rows, cols, balance);
      assert.deepEqual(host.readBytes(codes, rows * cols), expected.codes);
      assert.deepEqual(host.readRecords(records, rows), recordsOf(expected));
      host.kernels.gelu(rows, cols, at, out);
      const gelu = quantizeReference(host.readFloats(out, rows * cols), rows, cols, balance);
      host.kernels.gelu_quantize(rows, cols, at, 4 * cols, line, balanceAt, codes, records);
      assert.deepEqual(host.readBytes(codes, rows * cols), gelu.codes);
      const y = host.floats(normed);
      host.kernels.add_rows(rows, cols, at, shift, 3, out);
      const added = host.readFloats(out, rows * cols);
      host.kernels.gated_add(rows, cols, y, shift, 2, 8 * cols, at);
      const gated = host.readFloats(at, rows * cols);
      for (let i = 0; i < rows * cols; i++) {
        const [r, c] = [Math.floor(i / cols), i % cols];
        assert.equal(added[i], Math.fround(x[i] + vectors[(r % 3) * cols + c]));
        assert.equal(gated[i], Math.fround(x[i] + Math.fround(vectors[Math.floor(r / 2) * 2 * cols + c] * normed[i])));
      }
    });
  });
}

describe('addresses beyond 2 GiB', () => {
  it('linear_u4 with its scratch across the boundary', () => {
    const memory = new WebAssembly.Memory({ initial: 32769 });
    const module = (name: 'float' | 'simd') => new WebAssembly.Module(assembleKernels(name));
    const kernels = instantiateKernels(module('float'), module('simd'), memory, 'simd');
    const next = random(21);
    const [m, n, k] = [9, 8, 64];
    const weight = randomWeight(n, k, 4, next, false);
    const a = quantizeReference(
      Float32Array.from({ length: m * k }, () => next() - 0.5),
      m,
      k,
    );
    const at = { codes: 1024, records: 4096, panels: 8192, columns: 16384, out: 32768 };
    const put = (address: number, bytes: Uint8Array | Int8Array) =>
      new Uint8Array(memory.buffer, address, bytes.length).set(new Uint8Array(bytes.buffer, 0, bytes.length));
    put(at.codes, a.codes);
    put(at.records, rowRecords(a));
    put(at.panels, panels(weight, 4));
    put(at.columns, columnRecords(weight, 0));
    for (const before of [256, 1024, 2048, 3072]) {
      kernels.linear_u4(m, n, k / 4, at.codes, at.records, at.panels, at.columns, at.out, 4 * n, 2 ** 31 - before);
      assert.deepEqual(new Float32Array(memory.buffer, at.out, m * n).slice(), linearReference(a, weight), `${before}`);
    }
  });
});
