/** A model, a request and a number of bytes in; out: where everything will lie, before any of it is allocated. */
import type { Manifest } from '../format/manifest.ts';
import type { ConfiguredArchitecture } from '../models/architecture.ts';
import { type CountedRequest, countModel, type ModelCounts } from './count-model.ts';
import { type BlockBytes, type BlockPlan, planBlocks } from './plan-blocks.ts';
import { type DividedModel, divideModel } from './units.ts';

export interface Layout extends DividedModel {
  readonly plan: BlockPlan;
  /** Whether what blocks make of the conditions is kept: see `BlockArrivals`. */
  readonly keep: boolean;
  readonly counts: ModelCounts;
  /** Bytes of the largest shard. */
  readonly largest: number;
}

export interface PlannedLayout {
  /** Undefined where not even one unit of blocks at a time fits. */
  readonly layout: Layout | undefined;
  /** The fewest bytes with which there is a layout. */
  readonly least: number;
}

/**
 * The layout that reads the least in every pass.
 * @param room bytes for the engine's memory and the objects that are fetched
 */
export async function planLayout(
  manifest: Manifest,
  architecture: ConfiguredArchitecture,
  request: Omit<CountedRequest, 'keep'>,
  room: number,
): Promise<PlannedLayout> {
  const divided = divideModel(manifest, architecture);
  const largest = Math.max(0, ...manifest.shards.map(({ length }) => length));
  let least = Number.POSITIVE_INFINITY;
  for (const keep of [true, false]) {
    const counts = await countModel(manifest, architecture, divided, { ...request, keep });
    const blocks = unitBytes(manifest, divided, counts);
    const besides = counts.fixed + counts.conditions + counts.activations;
    const plan = planBlocks(blocks, { bytes: room - besides, loading: room - counts.fixed - counts.making, largest });
    least = Math.min(least, besides + Math.max(0, ...counts.units) + largest);
    if (plan) return { layout: { ...divided, plan, keep, counts, largest }, least };
  }
  return { layout: undefined, least };
}

/** Units as `planBlocks` takes them. */
export function unitBytes(
  { shards }: Pick<Manifest, 'shards'>,
  { units }: DividedModel,
  counts: Pick<ModelCounts, 'units'>,
): BlockBytes[] {
  return units.map(({ name, tensors }, i) => {
    const lengths = [...tensors.keys()].map((index) => shards[index].length);
    const read = lengths.reduce((sum, length) => sum + length, 0);
    return { name, resident: counts.units[i], read, largest: Math.max(0, ...lengths) };
  });
}
