/** How many products a second this machine computes in the engine of the edge, on one thread: what a plan's times are made of. */
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import type { Products } from '@edge-dit/runtime/streaming/counting-engine';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';

/** Products a second: of codes, their quantization included, and of floats. */
export interface Rate extends Readonly<Products> {
  /** Bytes a second whose SHA-256 is computed. */
  readonly hash: number;
}

export interface MeasuredRate extends Rate {
  /** For example `wasm-relaxed`. */
  readonly engine: string;
}

/** Tokens of a picture of 256 pixels and the width of a small transformer. */
const [TOKENS, WIDTH] = [256, 768];
/** A second and a half in all, where the machine is not very slow. */
const MEASURE_MS = 500;

/** Computes for about a second; other work on the machine makes it slower than it is. */
export async function measureRate(): Promise<MeasuredRate> {
  const { engine, close } = await openWasmEngine(await compileKernels(), new Meter());
  const shape = { outFeatures: WIDTH, inFeatures: WIDTH };
  const coded = engine.linear({
    ...shape,
    kind: 'codes',
    bits: 8,
    panels: new Uint8Array(WIDTH * WIDTH).fill(130),
    scale: new Float32Array(WIDTH).fill(0.01),
    zero: new Uint8Array(WIDTH).fill(128),
  });
  const float = engine.linear({ ...shape, kind: 'float', weight: new Float32Array(WIDTH * WIDTH).fill(0.01) });
  const x = engine.input(
    Float32Array.from({ length: TOKENS * WIDTH }, (_, i) => (i % 17) - 8),
    [TOKENS, WIDTH],
  );
  const rateOf = (layer: typeof coded) => {
    let calls = 0;
    let elapsed = 0;
    const run = () => {
      const mark = engine.mark();
      engine.apply(layer, engine.operand(x));
      engine.release(mark);
    };
    // The first calls are compiled while they run.
    for (let i = 0; i < 10; i++) run();
    for (const start = performance.now(); elapsed < MEASURE_MS; calls++) {
      run();
      elapsed = performance.now() - start;
    }
    return (1000 * calls * TOKENS * WIDTH * WIDTH) / elapsed;
  };
  const rate = { codes: rateOf(coded), floats: rateOf(float), hash: await measureHash(), engine: engine.name };
  close();
  return rate;
}

const HASHED_BYTES = 4 * 2 ** 20;

/** Bytes a second of SHA-256, as shards are verified. */
export async function measureHash(): Promise<number> {
  const bytes = new Uint8Array(HASHED_BYTES);
  await crypto.subtle.digest('SHA-256', bytes);
  const start = performance.now();
  for (let i = 0; i < 8; i++) await crypto.subtle.digest('SHA-256', bytes);
  return (8 * 1000 * HASHED_BYTES) / (performance.now() - start);
}
