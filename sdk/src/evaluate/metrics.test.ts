import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gmsd } from './gmsd.ts';
import type { PictureValues } from './picture-values.ts';
import { psnr } from './psnr.ts';
import { ssim } from './ssim.ts';

type Formula = (x: number, y: number, c: number) => number;

function draw(formula: Formula, { width = 56, height = 40, channels = 3 } = {}): PictureValues {
  const area = width * height;
  const values = Float32Array.from({ length: channels * area }, (_, i) =>
    formula(i % width, Math.floor((i % area) / width), Math.floor(i / area)),
  );
  return { width, height, values };
}

const scene: Formula = (x, y, c) => Math.abs(((x * (7 + c) + y * 5 + Math.floor((x * y) / 9)) % 64) - 32) / 16 - 1;
const noise: Formula = (x, y, c) => (((x * 37 + y * 61 + c * 101 + x * y * 7) % 17) - 8) / 40;
const a = draw(scene);
const noisy = (scale: number): PictureValues => draw((x, y, c) => scene(x, y, c) + scale * noise(x, y, c));
const near = (got: number, expected: number, tolerance: number) =>
  assert.ok(Math.abs(got - expected) <= tolerance, `${got}, expected ${expected}`);

test('the numbers of other programs', () => {
  const b = noisy(1);
  // scikit-image 0.26: peak_signal_noise_ratio and structural_similarity of float64 (gaussian_weights, sigma 1.5,
  // population covariance, data_range 2), and GMSD by scipy's convolve2d, from the paper's steps; of b cut off.
  near(psnr(a.values, b.values), 24.32711744394991, 1e-5);
  near(ssim(a, b), 0.8595468112557944, 1e-6);
  near(gmsd(a, b), 0.08915742346282901, 1e-6);
  // An odd number of rows.
  const cut = ({ values }: PictureValues) => {
    const rows = [0, 1, 2].flatMap((c) => [...values.subarray(c * 56 * 40, c * 56 * 40 + 56 * 39)]);
    return { width: 56, height: 39, values: Float32Array.from(rows) };
  };
  near(gmsd(cut(a), cut(b)), 0.08909184632135733, 1e-6);
});

test('equal pictures', () => {
  assert.equal(psnr(a.values, a.values), Number.POSITIVE_INFINITY);
  assert.equal(ssim(a, a), 1);
  assert.equal(gmsd(a, a), 0);
  // Beyond -1..1 nothing is shown.
  const over = draw((x, y, c) => (scene(x, y, c) > 0.9 ? 3 : scene(x, y, c)));
  const top = draw((x, y, c) => (scene(x, y, c) > 0.9 ? 1 : scene(x, y, c)));
  assert.deepEqual([psnr(over.values, top.values), ssim(over, top), gmsd(over, top)], [Number.POSITIVE_INFINITY, 1, 0]);
});

test('closed forms', () => {
  const flat = (value: number, channels = 1) => draw(() => value, { channels });
  near(psnr(flat(0.25).values, flat(-0.25).values), 10 * Math.log10(4 / 0.25), 1e-9);
  // Without variance only the first factor of SSIM is left: (2 m n + C1) / (m^2 + n^2 + C1), C1 = (0.01 * 2)^2.
  near(ssim(flat(0.5, 3), flat(0.25, 3)), (2 * 0.5 * 0.25 + 4e-4) / (0.5 ** 2 + 0.25 ** 2 + 4e-4), 1e-6);
  // Of a picture and its negative the means here are 0, so what is left is about (C2 - 2 v) / (C2 + 2 v).
  const stripes = draw((x) => (x % 2 === 0 ? 0.5 : -0.5), { channels: 1 });
  const negative = { ...stripes, values: stripes.values.map((value) => -value) };
  near(ssim(stripes, negative), (3.6e-3 - 0.5) / (3.6e-3 + 0.5), 1e-2);
  assert.equal(gmsd(stripes, negative) < 1e-3, true, 'stripes of one pixel are grey at half the size');
  // GMSD sees no even shift of brightness but at the border, and no colour at equal luminance.
  const shade = draw((x, y) => (x + y) / 200, { channels: 1 });
  const green = draw((_x, _y, c) => (c === 1 ? 0.2 : 0));
  const red = draw((_x, _y, c) => (c === 0 ? (0.2 * 0.587) / 0.299 : 0));
  near(gmsd(green, red), 0, 1e-6);
  assert.ok(psnr(green.values, red.values) < 20);
  assert.ok(
    gmsd(
      shade,
      draw((x, y) => 0.05 + (x + y) / 200, { channels: 1 }),
    ) < 0.02,
  );
});

test('more noise is farther, symmetric, whatever the number of channels', () => {
  for (const channels of [1, 3]) {
    const size = { channels, width: 32, height: 32 };
    const clean = draw(scene, size);
    const levels = [0.1, 0.4, 1.6].map((scale) => draw((x, y, c) => scene(x, y, c) + scale * noise(x, y, c), size));
    const [s, g] = [levels.map((level) => ssim(clean, level)), levels.map((level) => gmsd(clean, level))];
    assert.ok(1 > s[0] && s[0] > s[1] && s[1] > s[2] && s[2] > -1, s.join());
    assert.ok(0 < g[0] && g[0] < g[1] && g[1] < g[2] && g[2] < 1, g.join());
    near(ssim(levels[1], clean), s[1], 1e-12);
    near(gmsd(levels[1], clean), g[1], 1e-12);
  }
});

test('what cannot be compared is refused', () => {
  const small = draw(scene, { width: 10, height: 40 });
  assert.throws(() => ssim(small, small), /windows of 11 x 11 pixels; a picture of 10 x 40 has none/);
  assert.throws(() => gmsd(a, small), /a picture of 10 x 40 x 3 cannot be compared with one of 56 x 40 x 3/);
  const thin = draw(scene, { width: 3, height: 40 });
  assert.throws(() => gmsd(thin, thin), /GMSD/);
});
