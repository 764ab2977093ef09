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
  /** The largest of the objects in which it is read. */
  readonly largest: number;
}

export interface BlockPlan {
  /** Names, in the order in which they run. */
  readonly stay: readonly string[];
  readonly stream: readonly string[];
  /** Of the blocks that stay. */
  readonly residentBytes: number;
  /** In which streamed blocks lie in turn; 0 where none streams. */
  readonly placeBytes: number;
  /** At least, of the objects that are on their way while blocks compute; 0 where all is read before. */
  readonly windowBytes: number;
  /** Read from the store each time that the network runs. */
  readonly readBytes: number;
}

export interface BlockBudget {
  /** For all blocks and buffers while the network runs: the budget less what is there in any case. */
  readonly bytes: number;
  /** The same while nothing is computed yet. */
  readonly loading: number;
  /** The largest object that is read before the network has run once. */
  readonly largest: number;
}

/** Objects that are fetched at once. */
export const FETCHED_AT_ONCE = 4;

/**
 * The plan that streams the fewest blocks, with a window for all of the next one while the last computes, or with a smaller one
 * where nothing else fits. Streamed blocks are spread evenly, so that each is read while those before it compute.
 * @returns undefined where not even one block at a time fits
 */
export function planBlocks(blocks: readonly BlockBytes[], budget: BlockBudget): BlockPlan | undefined {
  const { bytes, loading, largest } = budget;
  const all = blocks.reduce((sum, { resident }) => sum + resident, 0);
  const planOf = (stream: readonly BlockBytes[], windowBytes: number): BlockPlan => {
    const streamed = new Set(stream);
    return {
      stay: blocks.flatMap((block) => (streamed.has(block) ? [] : [block.name])),
      stream: stream.map(({ name }) => name),
      residentBytes: all - stream.reduce((sum, { resident }) => sum + resident, 0),
      placeBytes: Math.max(0, ...stream.map(({ resident }) => resident)),
      windowBytes,
      readBytes: stream.reduce((sum, { read }) => sum + read, 0),
    };
  };
  if (all + largest <= bytes) return planOf([], largest);
  if (all <= bytes && all + largest <= loading) return planOf([], 0);
  const reads = Math.min(FETCHED_AT_ONCE * largest, Math.max(0, ...blocks.map(({ read }) => read)));
  for (const windowBytes of [Math.max(largest, reads), largest]) {
    for (let count = 1; count <= blocks.length; count++) {
      const chosen = new Set(Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * blocks.length) / count)));
      const plan = planOf(
        blocks.filter((_, i) => chosen.has(i)),
        windowBytes,
      );
      if (bytesOf(plan) <= bytes) return plan;
    }
  }
  return undefined;
}

/** Of blocks and buffers while the network runs. */
export const bytesOf = ({ residentBytes, placeBytes, windowBytes }: BlockPlan): number =>
  residentBytes + placeBytes + windowBytes;
