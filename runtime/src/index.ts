/** From a published model to a picture. Engines, stores, formats and samplers are reached by subpath. */
export { EdgeDitError, ERROR_CODES, type ErrorCode, isEdgeDitError } from './errors.ts';
export { DEFAULT_BUDGET_BYTES, Meter } from './meter.ts';
export { encodePng, type Picture } from './picture.ts';
export {
  type Generated,
  type GenerateHooks,
  type GenerateRequest,
  Pipeline,
  type PipelineOptions,
} from './pipeline.ts';
export type { TrustPolicy } from './trust.ts';
