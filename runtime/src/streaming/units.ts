/**
 * A model cut into what is read together: the part outside the blocks, which always stays, and units of blocks. Shards can
 * only be verified whole, so a block whose shards are all read for the one before it is of the same unit.
 */
import { EdgeDitError } from '../errors.ts';
import type { Manifest, TensorRecord } from '../format/manifest.ts';
import type { ConfiguredArchitecture, LinearSpec, TableSpec } from '../models/architecture.ts';

/** Layers and tables that come and go together. */
export interface Part {
  readonly linears: readonly LinearSpec[];
  readonly tables: readonly TableSpec[];
  /** By the index of the shard in which they lie; shards in the order of the manifest. */
  readonly tensors: ReadonlyMap<number, readonly TensorRecord[]>;
}

export interface Unit extends Part {
  /** For example `block.3`, or `block.0-3`. */
  readonly name: string;
  /** Numbers of its blocks, consecutive. */
  readonly blocks: readonly number[];
}

export interface DividedModel {
  readonly fixed: Part;
  /** In the order in which they run. */
  readonly units: readonly Unit[];
}

const BLOCK = /^block\.(\d+)$/;

/** @throws EdgeDitError `checkpoint-mismatch` for a tensor that the architecture has no use for */
export function divideModel(
  { tensors }: Pick<Manifest, 'tensors'>,
  { linears, tables }: Pick<ConfiguredArchitecture, 'linears' | 'tables'>,
): DividedModel {
  const groups = new Map([...linears, ...tables].map(({ name, group }) => [name, group]));
  const byGroup = new Map<string, TensorRecord[]>();
  for (const record of tensors) {
    // `<layer>.weight`, `<layer>.bias`, and whatever stands beside the weight are of the layer's group.
    const [, layer = ''] = /^(.+?)\.(?:weight|bias)(?:\.\w+)?$/.exec(record.name) ?? [];
    const group = groups.get(record.name) ?? groups.get(layer);
    if (group === undefined) {
      throw new EdgeDitError('checkpoint-mismatch', `tensor ${record.name} is not one of this architecture's.`);
    }
    const found = byGroup.get(group);
    if (found) found.push(record);
    else byGroup.set(group, [record]);
  }
  const shardsOf = (records: readonly TensorRecord[]) => new Set(records.map(({ shard }) => shard));
  const partOf = (isOf: (group: string) => boolean): Part => {
    const records = [...byGroup].flatMap(([group, found]) => (isOf(group) ? found : []));
    const byShard = new Map(
      [...shardsOf(records)].sort((a, b) => a - b).map((index): [number, TensorRecord[]] => [index, []]),
    );
    for (const record of records) byShard.get(record.shard)!.push(record);
    return {
      linears: linears.filter(({ group }) => isOf(group)),
      tables: tables.filter(({ group }) => isOf(group)),
      tensors: byShard,
    };
  };
  const numbers = [...new Set([...groups.values()].flatMap((group) => BLOCK.exec(group)?.[1] ?? []))].map(Number);
  const runs: { blocks: number[]; shards: Set<number> }[] = [];
  for (const number of numbers.sort((a, b) => a - b)) {
    const needed = shardsOf(byGroup.get(`block.${number}`) ?? []);
    const last = runs.at(-1);
    if (last && [...needed].every((shard) => last.shards.has(shard))) last.blocks.push(number);
    else runs.push({ blocks: [number], shards: needed });
  }
  const units = runs.map(({ blocks }): Unit => {
    const [first, last] = [blocks[0], blocks[blocks.length - 1]];
    const name = first === last ? `block.${first}` : `block.${first}-${last}`;
    return { name, blocks, ...partOf((group) => blocks.some((number) => group === `block.${number}`)) };
  });
  return { fixed: partOf((group) => !BLOCK.test(group)), units };
}
