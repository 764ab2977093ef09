/** Pictures to rows of patches and back: data movement only, so it runs on the host. */

export interface PatchGrid {
  readonly batch: number;
  readonly frames: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly patch: number;
}

/** Calls `visit` with the index of a value in [B, C, F, H, W] and in [B F rows columns, values of a patch]. */
function forEachValue(
  grid: PatchGrid,
  patchIndex: (c: number, py: number, px: number) => number,
  visit: (pixel: number, value: number) => void,
): void {
  const { batch, frames, channels, height, width, patch } = grid;
  const [rows, columns] = [height / patch, width / patch];
  const size = channels * patch * patch;
  for (let image = 0; image < batch * frames; image++) {
    const [b, f] = [Math.floor(image / frames), image % frames];
    for (let token = 0; token < rows * columns; token++) {
      const [top, left] = [Math.floor(token / columns) * patch, (token % columns) * patch];
      const value = (image * rows * columns + token) * size;
      for (let c = 0; c < channels; c++) {
        for (let py = 0; py < patch; py++) {
          const pixel = (((b * channels + c) * frames + f) * height + top + py) * width + left;
          for (let px = 0; px < patch; px++) visit(pixel + px, value + patchIndex(c, py, px));
        }
      }
    }
  }
}

/** [B, C, F, H, W] to [B F rows columns, C patch patch]: the order of a convolution's weight. */
export function patchify(sample: Float32Array, grid: PatchGrid): Float32Array {
  const out = new Float32Array(sample.length);
  const { patch } = grid;
  forEachValue(
    grid,
    (c, py, px) => (c * patch + py) * patch + px,
    (pixel, value) => {
      out[value] = sample[pixel];
    },
  );
  return out;
}

/** [B F rows columns, patch patch C] to [B, C, F, H, W]: channels last, as the last layer writes them. */
export function unpatchify(tokens: Float32Array, grid: PatchGrid): Float32Array {
  const out = new Float32Array(tokens.length);
  const { patch, channels } = grid;
  forEachValue(
    grid,
    (c, py, px) => (py * patch + px) * channels + c,
    (pixel, value) => {
      out[pixel] = tokens[value];
    },
  );
  return out;
}
