/**
 * What blocks make of the conditions alone: products of their layers with operands that all forwards share. With every block
 * there they are made at once, when a session begins. Where blocks come late each makes its own in the first forward, in
 * memory that was set aside at the beginning, or, where that is too much, in every forward. The values are the same.
 */
import type { Engine, Linear, Operand, Tensor } from '../engines/engine.ts';
import type { ModelWeights } from './architecture.ts';

export interface BlockProduct {
  readonly operand: Operand;
  readonly linears: readonly Linear[];
}

/** Gives a block's products, one for each of its linears; where blocks come late, only while it is there. */
export type BlockProducts = (block: number) => readonly Tensor[];

/** At once; when a block is there for the first time, in memory that is set aside now; or each time that it is asked for. */
export type WhenMade = 'now' | 'first' | 'each';

export function whenMade({ arrivals }: Pick<ModelWeights, 'arrivals'>): WhenMade {
  if (arrivals === undefined) return 'now';
  return arrivals.keep ? 'first' : 'each';
}

/**
 * @param productOf called for a block that is there. Unless all are made now, what it makes on the way is released, so
 *   its operand must be a new one each time
 * @param shapes of the products
 */
export function blockProducts(
  engine: Engine,
  when: WhenMade,
  blocks: number,
  productOf: (block: number) => BlockProduct,
  shapes: readonly (readonly number[])[],
): BlockProducts {
  const make = (block: number) => {
    const { operand, linears } = productOf(block);
    return linears.map((linear) => engine.apply(linear, operand));
  };
  if (when === 'each') return make;
  if (when === 'now') {
    const all = Array.from({ length: blocks }, (_, block) => make(block));
    return (block) => all[block];
  }
  const zeros = (shape: readonly number[]) =>
    engine.input(new Float32Array(shape.reduce((product, size) => product * size, 1)), shape);
  const kept = Array.from({ length: blocks }, () => ({ tensors: shapes.map(zeros), made: false }));
  return (block) => {
    const { tensors, made } = kept[block];
    if (made) return tensors;
    const mark = engine.mark();
    const { operand, linears } = productOf(block);
    for (const [i, linear] of linears.entries()) engine.applyInto(tensors[i], linear, operand);
    engine.release(mark);
    kept[block].made = true;
    return tensors;
  };
}
