/** From a checkpoint to a published model. Calibration, evaluation, export and benchmarks are reached by subpath. */
export { type Checkpoint, openCheckpoint } from './checkpoint/checkpoint.ts';
export { type Published, publish } from './publish.ts';
export { type QuantizeOptions, type QuantizeResult, quantize } from './quantize/quantize.ts';
export { recipeByName, recipes } from './recipes/index.ts';
export type { Recipe } from './recipes/recipe.ts';
export { openStore, openWritableStore } from './stores.ts';
