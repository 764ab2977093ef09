/** The panels of every width of codes: the bytes that FORMAT.md gives, and the way back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expandCodes } from './code-groups.ts';
import { encodingByName, encodings, panelsFromCodes } from './encodings.ts';

const WIDTHS = [4, 5, 6, 8] as const;
const SHAPES = [
  [1, 1],
  [8, 4],
  [9, 6],
  [17, 33],
] as const;

test('codes lie where FORMAT.md says, bit by bit', () => {
  // One group: code c of 32 belongs to output c >> 2 and input c & 3.
  for (const bits of WIDTHS) {
    for (let code = 0; code < 32; code++) {
      for (let bit = 0; bit < bits; bit++) {
        const codes = new Uint8Array(32);
        codes[code] = 1 << bit;
        const expected = new Uint8Array(4 * bits);
        const per = bits - 4;
        if (bits === 8) expected[code] = 1 << bit;
        else if (bit < 4) expected[code % 16] = 1 << (bit + (code < 16 ? 0 : 4));
        else expected[16 + (code % (4 * per))] = 1 << (per * Math.floor(code / (4 * per)) + bit - 4);
        assert.deepEqual(panelsFromCodes(codes, 8, 4, bits), expected, `bit ${bit} of code ${code} of ${bits} bits`);
      }
    }
  }
});

test('what panels hold is what was put there, of any shape', () => {
  for (const bits of WIDTHS) {
    const encoding = encodingByName(`u${bits}-8x4`);
    assert.equal(encoding.bits, bits);
    for (const [rows, depth] of SHAPES) {
      const codes = Uint8Array.from({ length: rows * depth }, (_, i) => (i * 37) % (1 << bits));
      const bytes = panelsFromCodes(codes, rows, depth, bits);
      assert.equal(bytes.length, encoding.byteLength([rows, depth]));
      assert.deepEqual(encoding.decode(bytes, [rows, depth]), codes);
    }
    // Any bytes are codes.
    const bytes = Uint8Array.from({ length: encoding.byteLength([16, 8]) }, (_, i) => (i * 151) & 255);
    const codes = encoding.decode(bytes, [16, 8]) as Uint8Array;
    assert.deepEqual(panelsFromCodes(codes, 16, 8, bits), bytes);
  }
  assert.deepEqual(
    encodings.filter(({ bits }) => bits).map(({ byteLength }) => byteLength([9, 5])),
    [128, 96, 80, 64],
  );
});

test('codes of groups expand by the multiplier and the base of their output and their inputs', () => {
  const records = new Uint8Array(2 * 2 * 16);
  // Output 8 is the first of the second panel; its inputs 4 to 7 are the second group.
  const second = 16 * (1 * 2 + 1);
  records[second] = 3;
  records[second + 8] = 5;
  const expanded = expandCodes(new Uint8Array(9 * 8).fill(7), 8, { size: 4, records });
  assert.deepEqual(expanded, new Uint8Array(9 * 8).fill(3 * 7 + 5, 8 * 8 + 4));
});
