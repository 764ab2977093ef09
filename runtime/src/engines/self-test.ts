/**
 * Proves at start that an engine computes the quantized linear as the plain loops do, bit for bit, on codes and
 * activations at the ends of their ranges. An engine that fails is not used.
 */
import { linearReference, quantizeReference } from '@edge-dit/wasm-kernels';
import { panelsFromCodes } from '../format/encodings.ts';
import type { Engine } from './engine.ts';

const ROWS = 7;
const OUT = 13;
const IN = 68;

/** undefined when all is well, else what differed. */
export async function selfTest(engine: Engine): Promise<string | undefined> {
  const x = Float32Array.from({ length: ROWS * IN }, (_, i) => ((i * 37) % 19 === 0 ? 9 : ((i * 7919) % 41) - 20));
  const balance = Float32Array.from({ length: IN }, (_, i) => 0.5 + (i % 7) / 4);
  const expectedRows = quantizeReference(x, ROWS, IN, balance);
  for (const bits of [8, 6, 5, 4] as const) {
    const top = (1 << bits) - 1;
    const codes = Uint8Array.from({ length: OUT * IN }, (_, i) =>
      i % 5 === 0 ? top : i % 3 === 0 ? 0 : (i * 131) & top,
    );
    const scale = Float32Array.from({ length: OUT }, (_, i) => 0.01 + i / 1024);
    const zero = Uint8Array.from({ length: OUT }, (_, i) => (i * 53) & top);
    const bias = Float32Array.from({ length: OUT }, (_, i) => i - 6);
    const expected = linearReference(expectedRows, { rows: OUT, cols: IN, codes, scales: scale, zeros: zero, bias });
    const panels = panelsFromCodes(codes, OUT, IN, bits);
    const mark = engine.mark();
    const layer = engine.linear({
      kind: 'codes',
      outFeatures: OUT,
      inFeatures: IN,
      bits,
      panels,
      scale,
      zero,
      bias,
      balance,
    });
    const out = await engine.read(engine.apply(layer, engine.operand(engine.input(x, [ROWS, IN]))));
    engine.release(mark);
    const wrong = out.findIndex((value, i) => !Object.is(value, expected[i]));
    if (wrong >= 0) {
      return `W${bits}A8 output ${wrong} is ${out[wrong]}, the plain loops give ${expected[wrong]}`;
    }
  }
  return undefined;
}
