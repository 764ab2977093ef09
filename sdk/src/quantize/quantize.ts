/** A checkpoint and a recipe in, a published model out: tensor by tensor, so that no checkpoint is too large. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { canonicalJson } from '@edge-dit/runtime/format/json';
import { ALIGNMENT } from '@edge-dit/runtime/format/limits';
import { type Manifest, serializeManifest, type TensorRecord } from '@edge-dit/runtime/format/manifest';
import { type PackTensor, packShards } from '@edge-dit/runtime/format/pack';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import type { CalibrateOptions } from '../calibrate/calibrate.ts';
import { type Calibration, checkpointDigest } from '../calibrate/calibration.ts';
import { type CanonicalCheckpoint, canonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { type BitMap, type BitSearchRecord, digestOf, withBitMap } from '../mixed-precision/bit-map.ts';
import { quantizingCodeDigest } from '../mixed-precision/quantizing-code.ts';
import { type SearchBitsOptions, searchBits } from '../mixed-precision/search-bits.ts';
import { shippedMap } from '../mixed-precision/shipped-map.ts';
import { type Published, publish } from '../publish/publish.ts';
import { planOf, type Recipe } from '../recipes/recipe.ts';
import type { Signing } from '../trust/sign-manifest.ts';
import { type DescribedPipeline, describePipeline } from './describe-pipeline.ts';
import { encodeTensors, type LayerRecord } from './encode-tensors.ts';
import { KeptCodes } from './kept-codes.ts';
import { type RecipeCalibrationOptions, recipeCalibration } from './recipe-calibration.ts';

export interface QuantizeOptions {
  readonly checkpoint: Checkpoint;
  readonly recipe: Recipe;
  /** Name under which the model is published. */
  readonly model: string;
  readonly store: WritableStore;
  /** Signs the manifest. */
  readonly sign?: Signing;
  readonly defaults?: { readonly steps: number; readonly guidance: number };
  /** Instead of the text in the checkpoint's model_card.json; `attribution` likewise. */
  readonly license?: string;
  readonly attribution?: string;
  readonly classNames?: readonly string[];
  /** For recipes that need it; without anything to calibrate on, they round to nearest and balance nothing. */
  readonly calibration?: RecipeCalibrationOptions['calibration'];
  readonly cache?: RecipeCalibrationOptions['cache'];
  /** Widths of layers; instead of a search, where the recipe asks for one. */
  readonly bitMap?: BitMap;
  /** How to search widths, where the recipe asks for it; what was measured is kept in `cache`. */
  readonly search?: Pick<SearchBitsOptions, 'sample' | 'threads' | 'onLesson' | 'onMeasure'>;
  readonly signal?: AbortSignal;
  /** While a recipe that needs it calibrates. */
  readonly onCalibrate?: CalibrateOptions['onStep'];
  /** Layers whose weights are quantized at once. Default: one for each core. */
  readonly threads?: number;
  /** After each linear layer; `found` of them were there from a run that was stopped. */
  readonly onLayer?: (layer: LayerRecord, done: number, total: number, found: number) => void;
}

export type QuantizeResult = Published;

const DEFAULTS = { steps: 20, guidance: 3 };

/**
 * Quantizes, packs and publishes. Raises what its parts raise, `manifest-invalid` for texts and names beyond a limit; what
 * can be refused without the tensors is refused before anything is sent. Nothing is visible under the name before all is there.
 */
export async function quantize(options: QuantizeOptions): Promise<QuantizeResult> {
  const { checkpoint, store, threads, signal, onLayer } = options;
  const canonical = canonicalCheckpoint(checkpoint);
  const withMap = (map: BitMap | undefined) =>
    map ? withBitMap(options.recipe, map, checkpoint, canonical) : options.recipe;
  withMap(options.bitMap);
  const total = canonical.architecture.linears.length;
  const layers: LayerRecord[] = [];
  const records: TensorRecord[] = [];
  const shardRecords: { sha256: string; length: number }[] = [];
  const { steps } = options.defaults ?? DEFAULTS;
  const described = await describePipeline(checkpoint, canonical.architecture.geometry, {
    steps,
    classNames: options.classNames,
  });
  serializeManifest(manifestOf(options, canonical, { described, layers }, PLACEHOLDER));
  const { guidance } = options.defaults ?? DEFAULTS;
  const calibration = await recipeCalibration({ ...options, guidance }, canonical.architecture);
  const map = options.bitMap ?? (await recipeBitMap(options, calibration));
  const recipe = withMap(map);
  const kept = await keptCodes({ ...options, recipe }, canonical, calibration);
  const found = kept === undefined ? 0 : canonical.architecture.linears.filter(({ name }) => kept.has(name)).length;
  const tensors = encodeTensors({
    checkpoint: canonical,
    recipe,
    calibration,
    kept,
    threads,
    signal,
    onLayer: (layer) => {
      layers.push(layer);
      onLayer?.(layer, layers.length, total, found);
    },
  });
  async function* shards() {
    for await (const { bytes, sha256, length, tensors: packed } of packShards(stoppable(tensors, signal))) {
      records.push(...packed);
      shardRecords.push({ sha256, length });
      yield { sha256, bytes };
    }
  }
  const published = await publish({
    store,
    model: options.model,
    sign: options.sign,
    signal,
    shards: shards(),
    files: described.files.map(({ record, bytes }) => ({ name: record.name, bytes })),
    manifest: () => {
      const stored = { tensors: records, shards: shardRecords };
      return manifestOf(options, canonical, { described, calibration, search: map?.search, layers }, stored);
    },
  });
  await kept?.forget();
  return published;
}

/** Where the codes lie that an earlier run had computed; undefined where that takes a moment, or nothing is kept. */
async function keptCodes(
  { checkpoint, recipe, cache }: QuantizeOptions,
  { architecture }: CanonicalCheckpoint,
  calibration: Calibration | undefined,
): Promise<KeptCodes | undefined> {
  if (cache === undefined || !calibration?.moments) return undefined;
  const settings = {
    checkpoint: await checkpointDigest(checkpoint),
    calibration: calibration.sha256,
    plans: architecture.linears.map((spec) => ({ ...planOf(recipe, spec) })),
    code: await quantizingCodeDigest(),
  };
  return new KeptCodes(cache, digestOf(canonicalJson(settings)));
}

/** The widths that a recipe leaves to a search: the checkpoint's own map, or what is found now; undefined for others. */
export async function recipeBitMap(
  options: Pick<QuantizeOptions, 'checkpoint' | 'recipe' | 'calibration' | 'defaults' | 'search' | 'cache' | 'signal'>,
  calibration: Calibration | undefined,
): Promise<BitMap | undefined> {
  const { checkpoint, recipe, defaults = DEFAULTS, search, cache, signal } = options;
  if (!recipe.mixed) return undefined;
  const shipped = await shippedMap(checkpoint, recipe);
  if (shipped) return shipped;
  const conditions = calibration?.conditions ?? options.calibration?.conditions;
  const sample = { guidance: defaults.guidance, conditions, ...search?.sample };
  return searchBits({ ...search, ...recipe.mixed, checkpoint, recipe, calibration, sample, cache, signal });
}

async function* stoppable(tensors: AsyncIterable<PackTensor>, signal?: AbortSignal): AsyncGenerator<PackTensor> {
  for await (const tensor of tensors) {
    if (signal?.aborted) throw new EdgeDitError('aborted', 'quantization was cancelled.', { cause: signal.reason });
    yield tensor;
  }
}

interface Described {
  readonly described: DescribedPipeline;
  readonly calibration?: Calibration;
  readonly search?: BitSearchRecord;
  readonly layers: readonly LayerRecord[];
}

type Stored = Pick<Manifest, 'tensors' | 'shards'>;

function manifestOf(
  { checkpoint, recipe, model, license, attribution, defaults = DEFAULTS }: QuantizeOptions,
  { architecture, tensors }: CanonicalCheckpoint,
  { described, calibration, search, layers }: Described,
  stored: Stored,
): Manifest {
  const { files, sampler, pipeline, ...card } = described;
  const floats = [...tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return {
    format: 'edge-dit',
    version: 1,
    model,
    architecture: checkpoint.architecture,
    config: { ...checkpoint.config },
    sampler,
    defaults,
    pipeline,
    ...stored,
    files: files.map(({ record }) => record),
    quantization: {
      recipe: recipe.name,
      activations: 'integers, asymmetric, per token, dynamic',
      attention: architecture.geometry.headWidth % 4 === 0 ? recipe.attention : 'float',
      layers: [...layers],
      floatBytes16: 2 * floats,
      ...(calibration ? { calibration: describeCalibration(calibration) } : {}),
      ...(search ? { mixedPrecision: search } : {}),
    },
    ...card,
    ...(license === undefined ? {} : { license }),
    ...(attribution === undefined ? {} : { attribution }),
  };
}

function describeCalibration({ sha256, conditions, steps, seed }: Calibration) {
  return { sha256, conditions: [...conditions], steps, seed };
}

/** In the place of what is not known before the tensors are packed, so that all the rest can be checked. */
const PLACEHOLDER: Stored = {
  tensors: [{ name: 'placeholder', shape: [1], encoding: 'f32', shard: 0, offset: ALIGNMENT, length: 4 }],
  shards: [{ sha256: '0'.repeat(64), length: 2 * ALIGNMENT }],
};
