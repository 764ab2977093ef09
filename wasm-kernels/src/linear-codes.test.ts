/** The quantized linear and the float panels of every width of codes, with and without groups, against plain loops. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assembleKernels } from './assemble.ts';
import { instantiateKernels, type Kernels, linearScratchBytes, supportedVariants, type Variant } from './load.ts';
import { type CodedWeight, linearReference, type QuantizedRows, quantizeReference } from './reference.ts';
import { openKernels, random } from './testing/kernel-host.ts';

type Bits = 4 | 5 | 6 | 8;

/** What is stored, and in `codes` what it stands for. */
interface StoredWeight extends CodedWeight {
  readonly bits: Bits;
  readonly stored: Uint8Array;
  /** Inputs that share a multiplier and a base, and [ceil(rows / 8), cols / size, 16] of them. */
  readonly size?: number;
  readonly steps?: Uint8Array;
}

function panels({ rows, cols, bits, stored }: StoredWeight): Uint8Array {
  const out = new Uint8Array(Math.ceil(rows / 8) * cols * bits);
  const upper = bits - 4;
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < cols; k++) {
      const group = ((n >> 3) * (cols / 4) + (k >> 2)) * 4 * bits;
      const lane = (n & 7) * 4 + (k & 3);
      const code = stored[n * cols + k];
      if (bits === 8) out[group + lane] = code;
      else out[group + (lane & 15)] |= (code & 15) << (lane < 16 ? 0 : 4);
      if (bits === 5) out[group + 16 + (lane % 4)] |= (code >> 4) << Math.floor(lane / 4);
      if (bits === 6) out[group + 16 + (lane % 8)] |= (code >> 4) << (upper * Math.floor(lane / 8));
    }
  }
  return out;
}

/** A record a row; with gates, a gate is its address less that of the row of the output. */
function rowRecords({ scales, sums, zeros }: QuantizedRows, gate: (row: number) => number = () => 0): Uint8Array {
  const view = new DataView(new ArrayBuffer(16 * scales.length));
  scales.forEach((scale, i) => {
    view.setFloat32(16 * i, scale, true);
    view.setInt32(16 * i + 4, sums[i], true);
    view.setInt32(16 * i + 8, zeros[i], true);
    view.setInt32(16 * i + 12, gate(i), true);
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

function randomWeight(
  rows: number,
  cols: number,
  bits: Bits,
  next: () => number,
  { extreme = false, size }: { extreme?: boolean; size?: number } = {},
): StoredWeight {
  const top = 2 ** bits - 1;
  const code = () => (extreme ? (next() < 0.5 ? 0 : top) : Math.floor(next() * (top + 1)));
  const stored = Uint8Array.from({ length: rows * cols }, code);
  const records = size && Math.ceil(rows / 8) * (cols / size);
  const steps = records ? new Uint8Array(16 * records) : undefined;
  for (let record = 0; steps && record < steps.length; record += 16) {
    for (let column = 0; column < 8; column++) {
      const multiplier = Math.floor(next() * (Math.floor(127 / top) + 1));
      steps[record + column] = multiplier;
      steps[record + 8 + column] = extreme ? 127 - multiplier * top : Math.floor(next() * (128 - multiplier * top));
    }
  }
  const codes = stored.map((value, i) => {
    const [n, k] = [Math.floor(i / cols), i % cols];
    if (!steps || !size) return value;
    const record = 16 * ((n >> 3) * (cols / size) + Math.floor(k / size)) + (n & 7);
    return steps[record] * value + steps[record + 8];
  });
  return {
    ...{ rows, cols, bits, stored, codes, size, steps },
    scales: Float32Array.from({ length: rows }, () => 0.001 + next() * 0.01),
    zeros: Float32Array.from({ length: rows }, () => codes[Math.floor(next() * codes.length)]),
    bias: Float32Array.from({ length: rows }, () => next() - 0.5),
  };
}

type LinearKernel = Kernels['linear_u8'];
/** Gates change every so many rows. */
const GATE_ROWS = 5;

/** y, and x + gate * y, of random rows. */
function runLinear(
  variant: Variant,
  kernel: (kernels: Kernels) => LinearKernel,
  signed: boolean,
  m: number,
  weight: StoredWeight,
  x: Float32Array,
) {
  const host = openKernels(variant);
  const { rows: n, cols: k, bits, steps } = weight;
  const size = weight.size ?? k;
  const a = quantizeReference(x, m, k);
  const [out, gated] = [host.take(4 * m * n + 64), host.take(4 * m * n + 64)];
  const gates = Float32Array.from({ length: n * Math.ceil(m / GATE_ROWS) }, (_, i) => ((i * 37) % 101) / 50 - 1);
  const before = Float32Array.from({ length: m * n }, (_, i) => ((i * 53) % 97) / 9 - 5);
  const gate = host.floats(gates);
  host.put(gated, before);
  const plain = signed ? host.bytes(Uint8Array.of(...new Array(8).fill(1), ...new Array(8).fill(128))) : 0;
  const [codes, packed] = [host.bytes(a.codes, 8 * k), host.bytes(panels(weight))];
  const columns = host.bytes(columnRecords(weight, signed ? 128 : 0));
  const records = [
    host.bytes(rowRecords(a)),
    host.bytes(rowRecords(a, (i) => gate + 4 * n * Math.floor(i / GATE_ROWS) - (gated + 4 * n * i))),
  ];
  for (const [i, target] of [out, gated].entries()) {
    kernel(host.kernels)(
      ...([m, n, k / 4, codes, records[i], packed, columns, target, 4 * n] as const),
      host.take(linearScratchBytes(m, k / 4)),
      bits,
      size / 4,
      steps ? host.bytes(steps) : plain,
      steps ? (16 * k) / size : 0,
    );
  }
  const y = linearReference(a, weight);
  return {
    got: host.readFloats(out, m * n),
    expected: y,
    gotGated: host.readFloats(gated, m * n),
    expectedGated: y.map((value, at) => {
      const vector = Math.floor(Math.floor(at / n) / GATE_ROWS);
      return before[at] + Math.fround(gates[vector * n + (at % n)] * value);
    }),
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

/** Inputs of a group: all, and the smallest and a middle one that divide them. */
const sizesOf = (k: number) => [...new Set([k, 4, k % 12 === 0 ? 12 : 8].filter((size) => k % size === 0))];

for (const variant of supportedVariants()) {
  describe(`linear kernels, ${variant}`, () => {
    const { form } = openKernels(variant).kernels;
    const compare = (
      kernel: (kernels: Kernels) => LinearKernel,
      bits: Bits,
      sizes: (k: number) => readonly (number | undefined)[],
      signed = false,
    ) => {
      const next = random(bits);
      for (const [m, n, k] of SHAPES) {
        for (const size of sizes(k)) {
          for (const extreme of [false, true]) {
            const weight = randomWeight(n, k, bits, next, { extreme, size });
            const x = Float32Array.from({ length: m * k }, () =>
              extreme ? Math.sign(next() - 0.5) * 3 : next() * 6 - 3,
            );
            const result = runLinear(variant, kernel, signed, m, weight, x);
            const what = `${m}x${n}x${k}${extreme ? ' extreme' : ''}${size ? ` groups of ${size}` : ''}`;
            assert.deepEqual(result.got, result.expected, what);
            assert.deepEqual(result.gotGated, result.expectedGated, `${what}, gated`);
          }
        }
      }
    };
    for (const bits of [4, 5, 6] as const) {
      it(`linear_u7 of ${bits}-bit codes equals the plain loops bit for bit`, () =>
        compare(
          (kernels) => kernels.linear_u7,
          bits,
          () => [undefined],
        ));
      it(`linear_u7 of ${bits}-bit codes in groups equals the plain loops bit for bit`, () =>
        compare((kernels) => kernels.linear_u7, bits, sizesOf));
    }
    it(`linear_u8 equals the plain loops bit for bit (${form})`, () =>
      compare(
        (kernels) => kernels.linear_u8,
        8,
        () => [undefined],
        form === 'signed',
      ));
    if (variant === 'relaxed') {
      it('so does its form in nibbles, whatever this host needs', () => {
        type Forms = Kernels & { linear_u8_nibbles: LinearKernel };
        compare(
          (kernels) => (kernels as Forms).linear_u8_nibbles,
          8,
          () => [undefined],
        );
      });
    }

    it('unpacks codes to bytes, minus 128 where a base says so', () => {
      const next = random(31);
      const host = openKernels(variant);
      const weight = randomWeight(8, 64, 8, next);
      const record = host.bytes(Uint8Array.of(...new Array(8).fill(1), ...new Array(8).fill(128)));
      const to = host.take(512);
      host.kernels.unpack_codes(16, host.bytes(panels(weight)), to, 8, 16, record);
      assert.deepEqual(
        new Uint8Array(host.readBytes(to, 512)),
        panels(weight).map((code) => code ^ 128),
      );
    });

    it('float panels hold the rounded product of scale and code less zero', () => {
      const next = random(17);
      for (const [bits, size] of [
        [4, undefined],
        [5, 8],
        [6, 20],
        [8, undefined],
      ] as const) {
        const host = openKernels(variant);
        const k = 40;
        const weight = randomWeight(8, k, bits, next, { size });
        const [codes, out] = [host.take(8 * k), host.take(32 * k)];
        const steps = weight.steps ? host.bytes(weight.steps) : 0;
        host.kernels.unpack_codes(k / 4, host.bytes(panels(weight)), codes, bits, (size ?? k) / 4, steps);
        host.kernels.float_panel(k / 4, codes, host.bytes(columnRecords(weight, 0)), out);
        const expected = Float32Array.from({ length: 8 * k }, (_, i) => {
          const [n, input] = [i % 8, Math.floor(i / 8)];
          return weight.scales[n] * (weight.codes[n * k + input] - weight.zeros[n]);
        });
        assert.deepEqual(host.readFloats(out, 8 * k), expected, `${bits} bits`);
      }
    });
  });
}

describe('addresses beyond 2 GiB', () => {
  it('linear_u7 with its scratch across the boundary', () => {
    const memory = new WebAssembly.Memory({ initial: 32769 });
    const module = (name: 'float' | 'simd') => new WebAssembly.Module(assembleKernels(name));
    const kernels = instantiateKernels(module('float'), module('simd'), memory, 'simd');
    const next = random(21);
    const [m, n, k] = [9, 8, 64];
    const weight = randomWeight(n, k, 4, next);
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
    put(at.panels, panels(weight));
    put(at.columns, columnRecords(weight, 0));
    for (const before of [256, 1024, 2048, 3072]) {
      const scratch = 2 ** 31 - before;
      kernels.linear_u7(
        ...([m, n, k / 4, at.codes, at.records, at.panels, at.columns, at.out, 4 * n, scratch] as const),
        ...([4, k / 4, 0, 0] as const),
      );
      assert.deepEqual(new Float32Array(memory.buffer, at.out, m * n).slice(), linearReference(a, weight), `${before}`);
    }
  });
});
