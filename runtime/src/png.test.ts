/** PNG bytes against another implementation: what it reads out of them is what went in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from 'fast-png';
import { pngOf } from './png.ts';

const noise = (length: number) => Uint8Array.from({ length }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24);
const ramp = (width: number, height: number) =>
  Uint8Array.from({ length: 3 * width * height }, (_, i) => Math.floor(i / 3) % width);

for (const [width, height] of [
  [1, 1],
  [1, 7],
  [5, 1],
  [33, 17],
  [128, 128],
]) {
  test(`${width} x ${height}: decodes to the pixels that it was made of`, () => {
    for (const rgb of [noise(3 * width * height), ramp(width, height), new Uint8Array(3 * width * height)]) {
      const png = pngOf(width, height, rgb);
      const picture = decode(png, { checkCrc: true });
      assert.deepEqual([picture.width, picture.height, picture.channels, picture.depth], [width, height, 3, 8]);
      assert.deepEqual(new Uint8Array(picture.data), rgb);
      assert.deepEqual(pngOf(width, height, rgb), png);
    }
  });
}

test('filters are chosen: a ramp takes a fraction of its bytes, noise at most a little more', () => {
  assert.ok(pngOf(128, 128, ramp(128, 128)).length < 500);
  assert.ok(pngOf(128, 128, noise(3 * 128 * 128)).length < 1.01 * 3 * 128 * 128);
});
