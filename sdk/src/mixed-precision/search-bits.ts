/**
 * Which layers get how many bits under a budget of bytes (ViDiT-Q, arXiv 2406.02540, section 3.4; the integer program is
 * MixDQ's, arXiv 2405.17873, section 3.3). Bytes are divided among the roles of layers by one metric that all have in
 * common, the error of pictures; inside a role they go where the role's own metric loses most without them.
 */
import { join } from 'node:path';
import type { CodeBits } from '@edge-dit/runtime/engines/engine';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { canonicalJson } from '@edge-dit/runtime/format/json';
import { ALIGNMENT } from '@edge-dit/runtime/format/limits';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import { type Calibration, checkpointDigest } from '../calibrate/calibration.ts';
import { defaultConditions } from '../calibrate/default-conditions.ts';
import { evenly } from '../calibrate/evenly.ts';
import { type CanonicalCheckpoint, canonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { computingCodeDigest } from '../evaluate/computing-code.ts';
import { planOf, type Recipe } from '../recipes/recipe.ts';
import { type BitMap, type BitSearchRecord, digestOf, withBits } from './bit-map.ts';
import { byRole, costsOf, divideBytes } from './divide-bytes.ts';
import { codeBytes, fixedBytes } from './layer-bytes.ts';
import { measureLayers, type Sample } from './measure-layers.ts';
import { MeasurementFile } from './measurement-file.ts';
import { quantizingCodeDigest } from './quantizing-code.ts';

export interface SearchBitsOptions {
  readonly checkpoint: Checkpoint;
  /** Everything but the widths of the layers of blocks. */
  readonly recipe: Recipe;
  /** What the recipe will be applied with. */
  readonly calibration?: Calibration;
  /** Bytes of the shards, in shares of the transformer's in float16. */
  readonly budget: number;
  /** Two or more. Default 4, 5, 6 and 8. */
  readonly bits?: readonly CodeBits[];
  /**
   * What the network is run on: `count` of the conditions, evenly spaced. Default: eight of the calibration's, or of the
   * checkpoint's own; 10 steps.
   */
  readonly sample?: Partial<Sample> & { readonly count?: number };
  /** Each role by its own metric (default), or all layers by the error of pictures. */
  readonly decoupled?: boolean;
  /** Folder for measurements: a search that was stopped goes on, one for another budget needs no new ones. */
  readonly cache?: string;
  /** Default: one for each core. Each holds the network in float32. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Conditions that the float network has run, before anything is measured. */
  readonly onLesson?: (done: number, total: number) => void;
  /** Measurements that are done, of how many, and how many of them were there from before. */
  readonly onMeasure?: (done: number, total: number, found: number) => void;
}

export const CANDIDATES: readonly CodeBits[] = [4, 5, 6, 8];
const CONDITIONS = 8;
const STEPS = 10;

/**
 * @throws `invalid-argument` for a budget that the narrowest widths exceed, naming the least, and where there is nothing
 *   to run the network on
 */
export async function searchBits(options: SearchBitsOptions): Promise<BitMap> {
  const { checkpoint, recipe, calibration, budget, decoupled = true, cache } = options;
  const candidates = [...new Set(options.bits ?? CANDIDATES)].sort((a, b) => a - b);
  if (candidates.length < 2) throw refused(`a search among ${candidates.length} widths; give two or more`);
  const canonical = canonicalCheckpoint(checkpoint);
  const layers = searchedLayers(recipe, canonical);
  if (layers.length === 0) throw refused(`recipe ${recipe.name} quantizes no layer of the blocks; take another`);
  const { fixed, bytes, floatBytes16 } = await bytesOf(canonical, options, layers, candidates);
  const room = Math.floor((budget * floatBytes16) / ALIGNMENT) * ALIGNMENT - fixed;
  const least = bytes.reduce((sum, of) => sum + Math.min(...of), 0);
  if (least > room) {
    const share = Math.ceil((10_000 * (fixed + least)) / floatBytes16) / 10_000;
    throw refused(
      `a budget of ${budget} of the float16 bytes is ${room + fixed} bytes; with ${candidates[0]} bits everywhere ${recipe.name} takes ${fixed + least}. Give at least ${share}`,
    );
  }
  const sample = await sampleOf(options, canonical);
  const digest = await checkpointDigest(checkpoint);
  const settings = {
    checkpoint: digest,
    calibration: calibration?.sha256,
    plans: digestOf(canonicalJson(plansOf(recipe, canonical, layers))),
    sample: { ...sample },
    code: [await computingCodeDigest(), await quantizingCodeDigest()],
  };
  const measurements = await measureLayers({
    ...options,
    canonical,
    layers,
    widths: candidates.slice(0, -1),
    sample,
    file: new MeasurementFile(cache && join(cache, 'sensitivity'), settings),
  });
  const costs = {
    picture: costsOf(measurements, 'picture', candidates),
    text: costsOf(measurements, 'text', candidates),
  };
  const names = layers.map(({ name }) => name);
  const chosen = await divideBytes(names, bytes, costs, room, decoupled);
  const sum = (of: readonly (readonly number[])[], members: readonly number[] = [...layers.keys()]) =>
    members.reduce((total, i) => total + of[i][chosen[i]], 0);
  const search: BitSearchRecord = {
    recipe: recipe.name,
    checkpoint: digest,
    ...(calibration ? { calibration: calibration.sha256 } : {}),
    budget,
    candidates,
    decoupled,
    sample: { ...sample, conditions: [...sample.conditions] },
    roles: byRole(names, decoupled).map(({ role, metric, members }) => {
      return { role, metric, layers: members.length, bytes: sum(bytes, members) };
    }),
    bytes: fixed + sum(bytes),
    floatBytes16,
    estimated: { picture: sum(costs.picture), text: sum(costs.text) },
    measurements: digestOf(canonicalJson(measurements)),
  };
  return {
    format: 'edge-dit-bit-map',
    version: 1,
    architecture: checkpoint.architecture,
    layers: Object.fromEntries(names.map((name, i) => [name, candidates[chosen[i]]])),
    search,
  };
}

const refused = (fault: string) => new EdgeDitError('invalid-argument', `mixed precision: ${fault}.`);

/** Layers of the blocks that the recipe quantizes; those of adaLN and islands are as the recipe has them. */
const searchedLayers = (recipe: Recipe, { architecture }: CanonicalCheckpoint): LinearSpec[] =>
  architecture.linears.filter((spec) => spec.role === 'body' && planOf(recipe, spec) !== undefined);

/** All that recipes say but the widths that are searched. */
function plansOf(recipe: Recipe, { architecture }: CanonicalCheckpoint, layers: readonly LinearSpec[]): unknown[] {
  return architecture.linears.map((spec) => {
    const plan = planOf(recipe, spec);
    return plan && layers.includes(spec) ? { ...plan, bits: 0 } : (plan ?? null);
  });
}

async function bytesOf(
  canonical: CanonicalCheckpoint,
  { recipe, calibration }: SearchBitsOptions,
  layers: readonly LinearSpec[],
  candidates: readonly CodeBits[],
): Promise<{ fixed: number; bytes: number[][]; floatBytes16: number }> {
  const calibrated = new Set(calibration?.groups.flatMap((group) => group.layers));
  const names = new Set(layers.map(({ name }) => name));
  const uniform = candidates.map((bits) => withBits(recipe, new Map(layers.map(({ name }) => [name, bits]))));
  const values = [...canonical.tensors.values()].map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  return {
    fixed: await fixedBytes(canonical, recipe, calibrated, names),
    bytes: layers.map((spec) =>
      uniform.map((changed) => codeBytes(spec, planOf(changed, spec)!, calibrated.has(spec.name))),
    ),
    floatBytes16: 2 * values.reduce((a, b) => a + b, 0),
  };
}

async function sampleOf(
  { checkpoint, calibration, sample }: SearchBitsOptions,
  { architecture }: CanonicalCheckpoint,
): Promise<Sample> {
  const { count = CONDITIONS, steps = STEPS, guidance = calibration?.guidance ?? 3, seed = 0 } = sample ?? {};
  const given = sample?.conditions ?? calibration?.conditions;
  const conditions = evenly(given ?? (await defaultConditions(checkpoint, architecture.geometry)) ?? [], count);
  if (conditions.length > 0) return { conditions, steps, guidance, seed };
  throw refused(`checkpoint "${checkpoint.path}" has no prompts to run the network on; give some`);
}
