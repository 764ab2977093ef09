import type { Recipe } from './recipe.ts';

export const f16: Recipe = {
  name: 'f16',
  summary: 'float16 weights, float32 arithmetic: what quantized models are compared with',
  attention: 'float',
};
