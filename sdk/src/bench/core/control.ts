/**
 * The same product beside the cases of every part: how fast it is says whether the part had the machine to itself. A
 * loop on registers alone, as the ceilings are, hardly notices a neighbour on the same core; a product does.
 */
import type { BenchHost } from './bench-host.ts';
import { openVariant } from './engines.ts';
import type { Case } from './interleave.ts';
import { linearSource, randomLayer } from './linear-layer.ts';
import { CONTROL } from './parts.ts';
import { randomFloats } from './random-values.ts';

const ROWS = 256;
const WIDTH = 384;

export async function controlCase(host: BenchHost): Promise<Case> {
  const engine = await openVariant(host);
  const linear = engine.linear(linearSource(randomLayer(WIDTH, WIDTH, 3), 'w4'));
  const operand = engine.operand(engine.input(randomFloats(ROWS * WIDTH, 5), [ROWS, WIDTH]));
  const mark = engine.mark();
  const run = () => {
    engine.apply(linear, operand);
    engine.release(mark);
  };
  return { name: CONTROL, macs: ROWS * WIDTH * WIDTH, run };
}
