/** Plain rounding to nearest, asymmetric: what there is without calibration, and what better recipes are compared with. */
import type { LayerPlan, Recipe } from './recipe.ts';

const plain = (name: string, summary: string, body: LayerPlan, attention: Recipe['attention']): Recipe => {
  return { name, summary: `${summary}, rounded to nearest; no calibration`, body, attention };
};

export const w8a8 = plain('w8a8', '8-bit weights per output channel, int8 activations', { bits: 8 }, 'float');
export const w6a6 = plain('w6a6', '6-bit weights and activations', { bits: 6, activationBits: 6 }, 'float');
export const w4a8 = plain('w4a8', '4-bit weights per output channel, int8 activations', { bits: 4 }, 'int8');
export const w4a8g64 = plain('w4a8-g64', '4-bit weights in groups of 64', { bits: 4, group: 64 }, 'int8');
