/** Plain rounding to nearest, asymmetric: what there is without calibration, and what better recipes are compared with. */
import type { LayerPlan, Recipe } from './recipe.ts';

const plain = (name: string, summary: string, body: LayerPlan, attention: Recipe['attention']): Recipe => {
  return { name, summary: `${summary}, rounded to nearest; no calibration`, body, attention };
};

export const roundToNearest: readonly Recipe[] = [
  plain('w8a8', '8-bit weights per output channel, int8 activations', { bits: 8 }, 'float'),
  plain('w6a8', '6-bit weights, int8 activations', { bits: 6 }, 'float'),
  plain('w6a6', '6-bit weights and activations', { bits: 6, activationBits: 6 }, 'float'),
  plain('w4a8', '4-bit weights per output channel, int8 activations', { bits: 4 }, 'int8'),
  plain('w4a8-g32', '4-bit weights in groups of 32 inputs, int8 activations', { bits: 4, group: 32 }, 'int8'),
];
