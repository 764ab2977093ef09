import { bodyBits, type Recipe } from './recipe.ts';

export const w4a8: Recipe = {
  name: 'w4a8',
  summary: '4-bit weights by rounding to nearest, asymmetric per output channel; int8 activations per token',
  weightBits: bodyBits(4),
  attention: 'int8',
};
