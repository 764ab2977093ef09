/**
 * ViDiT-Q (arXiv 2406.02540): int8 or int6 activations per token, dynamic, so that timesteps and the halves of guidance
 * get steps of their own; a static balance of channels for what stays, a rotation for what moves; and, beyond the paper,
 * GPTQ, groups of inputs in steps of their own, and the vectors' linears as 8-bit weights.
 */
import type { LayerPlan, Recipe } from './recipe.ts';

/** Of every layer of the blocks. */
const best = {
  balance: { alpha: 0.5 },
  rotation: true,
  rounding: 'gptq',
  range: 'least-squares',
} as const;

const float = { activationBits: 'float', group: undefined, balance: undefined, rotation: undefined } as const;
/**
 * What is computed once a request, and read in every step: its weights are bytes and not work, and an error of it is the
 * same in every step, where errors of activations average out.
 */
const onceARequest: LayerPlan = { bits: 8, ...float, rounding: 'gptq', range: 'least-squares' };
const textKeysAndValues = { layers: /attn2\.to_[kv]$/, plan: onceARequest };
const embedders = { layers: /timestep_embedder|caption_projection/, plan: onceARequest };

export const viditQW8A8: Recipe = {
  name: 'vidit-q-w8a8',
  summary: 'ViDiT-Q: 8-bit weights by GPTQ, int8 activations, balanced and rotated',
  // A quarter of the usual calibration, in a third of the time: 45.4 dB to float where all of it gives 45.9.
  calibration: { conditions: 16, steps: 10 },
  body: { bits: 8, ...best },
  modulation: onceARequest,
  exceptions: [textKeysAndValues],
  attention: 'float',
};

export const viditQW6A6: Recipe = {
  name: 'vidit-q-w6a6',
  summary: 'ViDiT-Q: 6-bit weights by GPTQ, int6 activations, balanced and rotated',
  body: { bits: 6, activationBits: 6, ...best },
  modulation: onceARequest,
  exceptions: [textKeysAndValues],
  attention: 'float',
};

/** Where bytes are short, everything that is large is quantized. */
const narrow = {
  modulation: onceARequest,
  exceptions: [textKeysAndValues, embedders],
} as const;

export const viditQW4A8: Recipe = {
  name: 'vidit-q-w4a8',
  summary:
    'ViDiT-Q: weights of 4.7 bits in the mean by GPTQ, the widths searched for under 0.34 of the float16 bytes, int8 activations',
  body: { bits: 8, group: 32, ...best },
  mixed: { budget: 0.34, bits: [4, 5, 6, 8] },
  ...narrow,
  attention: 'float',
};

export const viditQW4A8Uniform: Recipe = {
  name: 'vidit-q-w4a8-uniform',
  summary:
    'ViDiT-Q: 4-bit weights by GPTQ in groups of 32, 8-bit for text keys and values, int8 activations; no search for widths',
  body: { bits: 4, group: 32, ...best },
  ...narrow,
  attention: 'int8',
};

export const viditQW4A8MP: Recipe = {
  name: 'vidit-q-w4a8-mp',
  summary:
    'ViDiT-Q: 4- to 8-bit weights by GPTQ, the widths searched for under 0.42 of the float16 bytes, int8 activations',
  body: { bits: 8, group: 32, ...best },
  mixed: { budget: 0.42, bits: [4, 5, 6, 8] },
  ...narrow,
  attention: 'int8',
};

export const viditQ: readonly Recipe[] = [viditQW8A8, viditQW6A6, viditQW4A8, viditQW4A8Uniform, viditQW4A8MP];
