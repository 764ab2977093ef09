/**
 * Pixels to the bytes of a PNG (ISO/IEC 15948), the same on every host: the deflate is a library in JavaScript, not the
 * host's. Eight bits a channel, red, green and blue, no interlace. Each row has the filter after which its bytes are
 * smallest, the rule that the standard suggests.
 */
import { zlibSync } from 'fflate';

const BYTES_PER_PIXEL = 3;
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const HEADER_TAIL = [8, 2, 0, 0, 0];

/** Filters 0 to 4: what is subtracted from a byte, by its left, upper and upper left neighbours. */
const FILTERS: readonly ((left: number, up: number, corner: number) => number)[] = [
  () => 0,
  (left) => left,
  (_, up) => up,
  (left, up) => (left + up) >> 1,
  (left, up, corner) => {
    const toLeft = Math.abs(up - corner);
    const toUp = Math.abs(left - corner);
    const toCorner = Math.abs(left + up - 2 * corner);
    if (toLeft <= toUp && toLeft <= toCorner) return left;
    return toUp <= toCorner ? up : corner;
  },
];

/** @param rgb row by row, 3 bytes a pixel */
export function pngOf(width: number, height: number, rgb: Uint8Array): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set(HEADER_TAIL, 8);
  const data = zlibSync(filtered(width, height, rgb), { level: 9 });
  const chunks = [chunk('IHDR', header), chunk('IDAT', data), chunk('IEND', new Uint8Array(0))];
  const png = new Uint8Array(SIGNATURE.length + chunks.reduce((sum, { length }) => sum + length, 0));
  png.set(SIGNATURE);
  let at = SIGNATURE.length;
  for (const bytes of chunks) {
    png.set(bytes, at);
    at += bytes.length;
  }
  return png;
}

/** Every row behind the number of its filter. */
function filtered(width: number, height: number, rgb: Uint8Array): Uint8Array {
  const stride = width * BYTES_PER_PIXEL;
  const out = new Uint8Array(height * (stride + 1));
  const row = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    let least = Number.POSITIVE_INFINITY;
    for (const [number, filter] of FILTERS.entries()) {
      let sum = 0;
      for (let x = 0; x < stride; x++) {
        const at = y * stride + x;
        const left = x < BYTES_PER_PIXEL ? 0 : rgb[at - BYTES_PER_PIXEL];
        const up = y === 0 ? 0 : rgb[at - stride];
        const corner = x < BYTES_PER_PIXEL || y === 0 ? 0 : rgb[at - stride - BYTES_PER_PIXEL];
        row[x] = rgb[at] - filter(left, up, corner);
        // As a signed byte: small differences either way compress well.
        sum += Math.min(row[x], 256 - row[x]);
      }
      if (sum >= least) continue;
      least = sum;
      out[y * (stride + 1)] = number;
      out.set(row, y * (stride + 1) + 1);
    }
  }
  return out;
}

/** Length, type, data, and the checksum of the last two. */
function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/** CRC-32 of ISO 3309, bit by bit: a picture's file is some ten thousand bytes. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
