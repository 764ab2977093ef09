import { bodyBits, type Recipe } from './recipe.ts';

export const w8a8: Recipe = {
  name: 'w8a8',
  summary:
    '8-bit weights by rounding to nearest, asymmetric per output channel; int8 activations per token; channels balanced where calibrated',
  weightBits: bodyBits(8),
  attention: 'float',
  balance: { alpha: 0.5 },
};
