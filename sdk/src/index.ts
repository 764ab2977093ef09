/** From a checkpoint to a published model. Calibration, evaluation, export and benchmarks are reached by subpath. */
export { type Checkpoint, openCheckpoint } from './checkpoint/checkpoint.ts';
export { copyModel } from './publish/copy-model.ts';
export { prune } from './publish/prune.ts';
export { type Published, publish } from './publish/publish.ts';
export { rollback } from './publish/rollback.ts';
export { type QuantizeOptions, type QuantizeResult, quantize } from './quantize/quantize.ts';
export { recipeByName, recipes } from './recipes/index.ts';
export type { Recipe } from './recipes/recipe.ts';
export { openStore, openWritableStore } from './stores.ts';
export type { Signing } from './trust/sign-manifest.ts';
export { generateKeyPem, openSigningKey, type SigningKey } from './trust/signing-key.ts';
