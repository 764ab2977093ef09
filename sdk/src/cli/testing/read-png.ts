/** Reads a PNG of 8 bits and 3 colours, not interlaced (https://www.w3.org/TR/png-3/#9Filters), by code of its own. */
import { inflateSync } from 'node:zlib';
import type { Picture } from '@edge-dit/runtime/picture';

const PIXEL = 3;

export function readPng(bytes: Buffer): Picture {
  const chunks: Buffer[] = [];
  for (let at = 8; at < bytes.length; at += 12 + bytes.readUInt32BE(at)) {
    if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT') {
      chunks.push(bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at)));
    }
  }
  const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  const [depth, colours, , , interlaced] = bytes.subarray(24, 29);
  if (depth !== 8 || colours !== 2 || interlaced !== 0) throw new Error(`a PNG of ${depth} bits, type ${colours}`);
  const filtered = inflateSync(Buffer.concat(chunks));
  const row = PIXEL * width;
  const rgb = new Uint8Array(row * height);
  for (let y = 0; y < height; y++) {
    const filter = filtered[y * (1 + row)];
    for (let x = 0; x < row; x++) {
      const at = y * row + x;
      const left = x >= PIXEL ? rgb[at - PIXEL] : 0;
      const up = y > 0 ? rgb[at - row] : 0;
      const corner = x >= PIXEL && y > 0 ? rgb[at - row - PIXEL] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      rgb[at] = filtered[y * (1 + row) + 1 + x] + guess;
    }
  }
  return { width, height, rgb };
}

/** Whichever of the three is nearest to left + up - corner, in this order. */
function paeth(left: number, up: number, corner: number): number {
  const distances = [up - corner, left - corner, left + up - 2 * corner].map(Math.abs);
  return [left, up, corner][distances.indexOf(Math.min(...distances))];
}
