import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hadamardFlips, hadamardOrder, rotateReference } from './hadamard.ts';

/** Inputs of the layers of published transformers, and the order that each needs. */
const WIDTHS: Readonly<Record<number, number>> = {
  4: 1,
  64: 1,
  1024: 1,
  2048: 1,
  4096: 1,
  8192: 1,
  ...{ 48: 12, 384: 12, 768: 12, 1536: 12, 3072: 12, 6144: 12, 12288: 12 },
  ...{ 320: 20, 640: 20, 1280: 20, 2560: 20, 5120: 20 },
  ...{ 1792: 28, 3584: 28, 1152: 36, 2304: 36, 4608: 36, 9216: 36, 1408: 44, 2816: 44 },
  ...{ 1920: 60, 3840: 60, 15360: 60, 2432: 76, 1664: 104, 13824: 108, 2240: 140, 8960: 140, 1600: 200 },
};

test('the usual widths have an order; others have none', () => {
  for (const [channels, order] of Object.entries(WIDTHS)) {
    assert.equal(hadamardOrder(Number(channels)), order, channels);
  }
  for (const channels of [0, 1, 2, 3, 6, 12, 20, 36, 100, 5600, 2 ** 10 + 4]) {
    assert.equal(hadamardOrder(channels), undefined, `${channels}`);
  }
});

test('H H^T = order I, for every order', () => {
  const orders = new Set(
    Array.from({ length: 4096 }, (_, i) => hadamardOrder(4 * i + 4)).filter((m) => m !== undefined),
  );
  assert.ok(orders.size > 20);
  for (const order of [...orders, 108, 140, 200]) {
    const flips = hadamardFlips(order);
    for (let i = 0; i < order; i++) {
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let c = 0; c < order; c++) sum += flips[i * order + c] === flips[j * order + c] ? 1 : -1;
        assert.equal(sum, i === j ? order : 0, `order ${order}, rows ${i} and ${j}`);
      }
    }
  }
});

/** By hand: the quadratic residues mod 11 are 1, 3, 4, 5, 9. */
test('what FORMAT.md says of the matrices, by rows', () => {
  const row = (order: number, i: number) => [...hadamardFlips(order).subarray(i * order, (i + 1) * order)].join('');
  assert.deepEqual(
    [0, 1, 2, 11].map((i) => row(12, i)),
    ['000000000000', '100100011101', '110010001110', '101000111010'],
  );
  assert.equal(row(28, 0), `01${'00'.repeat(13)}`);
  assert.equal(row(28, 1), `11${'01'.repeat(13)}`);
});

test('rows rotate as by the matrix written out, and their lengths stay', () => {
  for (const channels of [4, 16, 48, 80, 224, 144]) {
    const order = hadamardOrder(channels)!;
    const block = channels / order;
    const flips = hadamardFlips(order);
    const signs = Uint8Array.from({ length: channels }, (_, i) => ((i * i * 7) >> 2) & 1);
    const x = Float32Array.from({ length: 2 * channels }, (_, i) => Math.sin(i * i));
    const parity = (bits: number) => [...bits.toString(2)].filter((bit) => bit === '1').length & 1;
    const expected = Float64Array.from({ length: 2 * channels }, (_, at) => {
      const [row, j] = [Math.floor(at / channels), at % channels];
      let sum = 0;
      for (let i = 0; i < channels; i++) {
        const flip =
          flips[Math.floor(i / block) * order + Math.floor(j / block)] ^ parity((i % block) & (j % block)) ^ signs[i];
        sum += flip ? -x[row * channels + i] : x[row * channels + i];
      }
      return sum / Math.sqrt(channels);
    });
    const got = x.slice();
    rotateReference(got, channels, signs);
    for (const [i, value] of expected.entries()) {
      assert.ok(Math.abs(got[i] - value) < 2e-6, `${channels} at ${i}: ${got[i]} ${value}`);
    }
  }
});
