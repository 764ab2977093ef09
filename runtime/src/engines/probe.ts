/** How fast an engine is: the time of some quantized layers with an answer read back, as a step of a network has them. */
import { panelsFromCodes } from '../format/encodings.ts';
import type { Engine } from './engine.ts';

/** A layer of a small network, as often as gives a processor some 20 ms of work: a GPU's latency counts once, as in a step. */
const [ROWS, CHANNELS, LAYERS] = [256, 384, 8];
const RUNS = 3;
/** No further run begins after that. */
const ENOUGH_MS = 250;

/** Milliseconds of the fastest of a few runs, after one that does not count. */
export async function probe(engine: Engine, now: () => number = () => performance.now()): Promise<number> {
  const codes = Uint8Array.from({ length: CHANNELS * CHANNELS }, (_, i) => (i * 131) & 15);
  const start = now();
  const mark = engine.mark();
  let best = Number.POSITIVE_INFINITY;
  try {
    const layer = engine.linear({
      kind: 'codes',
      outFeatures: CHANNELS,
      inFeatures: CHANNELS,
      bits: 4,
      panels: panelsFromCodes(codes, CHANNELS, CHANNELS, 4),
      scale: new Float32Array(CHANNELS).fill(0.01),
      zero: new Uint8Array(CHANNELS).fill(8),
    });
    const x = engine.input(
      Float32Array.from({ length: ROWS * CHANNELS }, (_, i) => ((i * 37) % 41) - 20),
      [ROWS, CHANNELS],
    );
    for (let run = 0; run <= RUNS; run++) {
      const [before, inner] = [now(), engine.mark()];
      let y = x;
      for (let i = 0; i < LAYERS; i++) y = engine.apply(layer, engine.operand(y));
      await engine.read(y);
      engine.release(inner);
      if (run > 0) best = Math.min(best, now() - before);
      if (run > 0 && now() - start > ENOUGH_MS) break;
    }
    return best;
  } finally {
    engine.release(mark);
  }
}
