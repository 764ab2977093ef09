/**
 * Which blocks of a network stay in memory and which are read again in every pass, under a budget. In: the bytes of each
 * block in the order in which they run. Out: the plan. Before anything is allocated: whoever streams follows it, and
 * whoever only wants to know prints it.
 */

export interface BlockBytes {
  readonly name: string;
  /** In the engine's memory. */
  readonly resident: number;
  /** Of the store, to have it there. */
  readonly read: number;
}

export interface BlockPlan {
  /** Names, in the order in which they run. */
  readonly stay: readonly string[];
  readonly stream: readonly string[];
  /** Of the blocks that stay. */
  readonly residentBytes: number;
  /** Of the places in which streamed blocks lie in turn, and of the one that is on its way. */
  readonly bufferBytes: number;
  /** Read from the store each time that the network runs. */
  readonly readBytes: number;
}

export interface BlockBudget {
  /** For all blocks and buffers: the budget less what is there in any case. */
  readonly bytes: number;
  /** Blocks that are read ahead while one computes. Default 1. */
  readonly ahead?: number;
}

/**
 * The plan that streams the fewest blocks. They are spread evenly, so that each is read while those before it compute.
 * @returns undefined where not even one block at a time fits
 */
export function planBlocks(blocks: readonly BlockBytes[], { bytes, ahead = 1 }: BlockBudget): BlockPlan | undefined {
  for (let count = 0; count <= blocks.length; count++) {
    const streamed = new Set(Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * blocks.length) / count)));
    const stream = blocks.filter((_, i) => streamed.has(i));
    const stay = blocks.filter((_, i) => !streamed.has(i));
    const places = Math.min(ahead + 1, count) * Math.max(0, ...stream.map(({ resident }) => resident));
    const bufferBytes = places + Math.max(0, ...stream.map(({ read }) => read));
    const residentBytes = stay.reduce((sum, { resident }) => sum + resident, 0);
    if (residentBytes + bufferBytes > bytes) continue;
    const readBytes = stream.reduce((sum, { read }) => sum + read, 0);
    const names = (of: readonly BlockBytes[]) => of.map(({ name }) => name);
    return { stay: names(stay), stream: names(stream), residentBytes, bufferBytes, readBytes };
  }
  return undefined;
}
