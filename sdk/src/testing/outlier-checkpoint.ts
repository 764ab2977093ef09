/**
 * A copy of a PixArt checkpoint whose activations have outlier channels, as large models have, and which computes the
 * same function: adaLN makes some channels of every modulated norm larger, and the weights that read them make up for it.
 */
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { copyCheckpoint } from './copy-checkpoint.ts';

/** Every `OUTLIER_SPACING`th channel is 8 to 30 times as large. */
const OUTLIER_SPACING = 48;
const factorOf = (outlier: number) => 8 + ((outlier * 7) % 23);

/** Places of shift and scale among the six vectors of a block: of its attention, and of its feed forward. */
const MODULATIONS = [
  { shift: 0, scale: 1 },
  { shift: 3, scale: 4 },
];
const READERS = /transformer_blocks\.\d+\.(attn1\.to_[qkv]|ff\.net\.0\.proj)\.weight$/;
const TABLES = /transformer_blocks\.\d+\.scale_shift_table$/;

/** Writes the copy to `folder`, in float32, since float16 would round the factors in. */
export const writeOutlierCheckpoint = (checkpoint: Checkpoint, folder: string): Promise<void> =>
  copyCheckpoint(checkpoint, folder, (name, values, shape) => {
    scale(name, values, shape);
    return values;
  });

function scale(name: string, values: Float32Array, shape: readonly number[]): void {
  const channels = shape.at(-1)!;
  if (READERS.test(name)) {
    values.forEach((value, i) => {
      values[i] = value / channelFactor(i % channels);
    });
  } else if (TABLES.test(name)) {
    // Here, once a block, the 1 of 1 + scale is made up for too.
    scaleVectors(values, channels, 1, true);
  } else if (name === 'adaln_single.linear.weight') scaleVectors(values, shape[0] / 6, channels, false);
  else if (name === 'adaln_single.linear.bias') scaleVectors(values, channels / 6, 1, false);
}

/** `values`: six vectors of `width` channels, each channel `depth` numbers. */
function scaleVectors(values: Float32Array, width: number, depth: number, withOne: boolean): void {
  for (const { shift, scale } of MODULATIONS) {
    for (let channel = 0; channel < width; channel += OUTLIER_SPACING) {
      const factor = channelFactor(channel);
      for (const vector of [shift, scale]) {
        const from = (vector * width + channel) * depth;
        for (let i = from; i < from + depth; i++) {
          values[i] = values[i] * factor + (withOne && vector === scale ? factor - 1 : 0);
        }
      }
    }
  }
}

const channelFactor = (channel: number) => (channel % OUTLIER_SPACING === 0 ? factorOf(channel / OUTLIER_SPACING) : 1);
