import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hadamardFlips, hadamardOrder, hadamardScale, rotateReference } from './hadamard.ts';
import { supportedVariants } from './load.ts';
import { type QuantizedRows, quantizeReference } from './reference.ts';
import { openKernels, random } from './testing/kernel-host.ts';

const recordsOf = ({ scales, sums, zeros }: QuantizedRows) =>
  Array.from(scales, (scale, i) => [scale, sums[i], zeros[i]]);

for (const variant of supportedVariants()) {
  describe(`kernels, ${variant}`, () => {
    it('quantizes rows as the reference, to any width, also of zeros, of subnormals and of huge values', () => {
      const cols = 36;
      const next = random(5);
      const rows = [0, 1e-40, 1e-38, 1, 1e30, 3e38].map((size) =>
        Array.from({ length: cols }, () => (next() - 0.5) * size),
      );
      rows.push(Array.from({ length: cols }, (_, i) => (i === 3 ? 127 : i % 7) + 0.5 * (i % 2)));
      const x = Float32Array.from(rows.flat());
      for (const bits of [8, 7, 6, 5, 4]) {
        const host = openKernels(variant);
        const [codes, records] = [host.take(cols * 8), host.take(256)];
        const balance = host.floats(new Float32Array(cols).fill(1));
        const steps = 2 ** bits - 1;
        host.kernels.quantize(rows.length, cols, host.floats(x), 4 * cols, 0, balance, codes, records, steps);
        const expected = quantizeReference(x, rows.length, cols, undefined, bits);
        assert.deepEqual(host.readBytes(codes, x.length), expected.codes, `${bits} bits`);
        assert.deepEqual(host.readRecords(records, rows.length), recordsOf(expected), `${bits} bits`);
        const [least, most] = [Math.min(...expected.codes), Math.max(...expected.codes)];
        assert.deepEqual([least, most], [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]);
      }
    });

    it('rotates rows as the plain loops, bit for bit, in place and elsewhere', () => {
      const next = random(6);
      for (const cols of [4, 8, 48, 64, 80, 224, 384, 1024, 1152, 1536]) {
        const host = openKernels(variant);
        const [rows, order] = [3, hadamardOrder(cols)!];
        const x = Float32Array.from({ length: rows * cols }, () => (next() - 0.5) * 10 ** (8 * next() - 4));
        const signs = Uint8Array.from({ length: cols }, () => Math.floor(2 * next()));
        const balance = Float32Array.from({ length: cols }, () => 0.1 + next());
        const factors = host.floats(balance.map((gain, c) => (signs[c] ? -gain : gain)));
        const flips = host.floats(Float32Array.from(hadamardFlips(order), (flip) => (flip ? -0 : 0)));
        const [at, out, line] = [host.floats(x), host.take(4 * x.length), host.take(4 * cols)];
        const expected = x.map((value, i) => value * balance[i % cols]);
        rotateReference(expected, cols, signs);
        for (const target of [out, at]) {
          host.kernels.rotate_rows(rows, order, cols / order, at, factors, flips, line, target);
          const got = host.readFloats(target, x.length).map((value) => value * hadamardScale(cols));
          assert.deepEqual(got, expected, `${cols} channels`);
        }
      }
    });

    it('multiplies float matrices', () => {
      const next = random(9);
      for (const [m, n, k] of [
        [1, 1, 1],
        [7, 9, 5],
        [6, 8, 4],
        [13, 20, 33],
      ] as const) {
        const host = openKernels(variant);
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

    it('computes activations and the softmax of two blocks to 1e-6', () => {
      const host = openKernels(variant);
      const x = Float32Array.from({ length: 64 }, (_, i) => (i - 32) / 2.5);
      const at = host.floats(x);
      const out = host.take(256);
      host.kernels.gelu(4, 16, at, out);
      const gelu = host.readFloats(out, 64);
      host.kernels.silu(4, 16, at, out);
      const silu = host.readFloats(out, 64);
      const bias = host.floats([0, 0, -10000, Number.NEGATIVE_INFINITY, ...new Array(12).fill(0.5)]);
      // The second block is the first again, raised by 2: its outputs are e^2 times those.
      const states = host.floats(
        Array.from({ length: 4 }, () => [Number.NEGATIVE_INFINITY, 0, Number.NaN, Number.NaN]).flat(),
      );
      const outputs = host.floats(new Float32Array(64).fill(Number.NaN));
      host.kernels.softmax_block(4, 16, at, bias, 0.3, states, 0);
      host.kernels.add_block(4, 16, at, states, outputs, 64);
      const raised = host.floats(host.readFloats(bias, 16).map((value) => value + 2));
      const again = host.floats(x);
      host.kernels.softmax_block(4, 16, again, raised, 0.3, states, 1);
      host.kernels.add_block(4, 16, again, states, outputs, 64);
      const soft = host.readFloats(outputs, 64);
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
      const host = openKernels(variant);
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
        255,
      );
      const expected = quantizeReference(normed, rows, cols, balance);
      assert.deepEqual(host.readBytes(codes, rows * cols), expected.codes);
      assert.deepEqual(host.readRecords(records, rows), recordsOf(expected));
      host.kernels.gelu(rows, cols, at, out);
      const gelu = quantizeReference(host.readFloats(out, rows * cols), rows, cols, balance);
      host.kernels.gelu_quantize(rows, cols, at, 4 * cols, line, balanceAt, codes, records, 255);
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
