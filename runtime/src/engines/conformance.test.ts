import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { supportedVariants } from '@edge-dit/wasm-kernels';
import { assembleKernels, compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { panelsFromCodes } from '../format/encodings.ts';
import { Meter } from '../meter.ts';
import { gaussianNoise } from '../noise.ts';
import { nodeGpu } from '../testing/node-gpu.ts';
import type { ActivationBits, CodeBits, Engine, LinearSource, Operand, Tensor } from './engine.ts';
import { openWasmEngine } from './open-wasm.ts';
import { openWebGpuEngine, type WebGpuOptions } from './open-webgpu.ts';
import { ReferenceEngine } from './reference.ts';
import { selfTest } from './self-test.ts';

const modules = await compileKernels();
const noise = (stream: number, length: number) => gaussianNoise(7, stream, length);

interface EngineUnderTest {
  readonly name: string;
  readonly open: () => Promise<Engine>;
  /** Of float operations. */
  readonly tolerance?: number;
  /** Why it cannot run here. */
  readonly skip?: string;
  /** The integer sums alone: what else it does it shares with another engine of the list. */
  readonly sumsOnly?: boolean;
}

/** GPUs round divisions and exponentials as they like. */
const GPU_TOLERANCE = 1e-4;
const gpu = await nodeGpu();
const onGpu = (name: string, options: WebGpuOptions, sumsOnly = false): EngineUnderTest => {
  if (typeof gpu === 'string') return { name, open: () => assert.fail(gpu), skip: gpu };
  let opened: Promise<Engine> | undefined;
  const open = () =>
    (opened ??= openWebGpuEngine(new Meter(2 ** 30), { gpu, ...options }).then(({ engine }) => engine));
  return { name, open, tolerance: GPU_TOLERANCE, sumsOnly };
};

/** Engines under test; all are compared with the reference. */
const engines: EngineUnderTest[] = [
  { name: 'reference', open: async () => new ReferenceEngine() },
  ...supportedVariants().map((variant) => ({
    name: `wasm-${variant}`,
    open: async () => (await openWasmEngine(modules, new Meter(), variant)).engine,
  })),
  onGpu('webgpu', {}),
  onGpu('webgpu without dot4I8Packed', { plainDots: true }, true),
];

interface CodesOptions {
  readonly balanced?: boolean;
  /** Inputs of a group. */
  readonly size?: number;
  readonly activationBits?: ActivationBits;
}

function codes(bits: CodeBits, outFeatures: number, inFeatures: number, options: CodesOptions = {}): LinearSource {
  const { balanced, size, activationBits } = options;
  const random = noise(bits, outFeatures * inFeatures);
  const flat = Uint8Array.from(random, (value) => Math.floor(Math.abs(value) * 1e6) % 2 ** bits);
  // Multipliers 0 to what leaves room below 128, bases up to it.
  const records = new Uint8Array(size ? 16 * Math.ceil(outFeatures / 8) * (inFeatures / size) : 0).map((_, i) => {
    const multiplier = (at: number) => (at * 7) % (Math.floor(127 / (2 ** bits - 1)) + 1);
    return (i & 8) === 0 ? multiplier(i) : (i * 11) % (128 - multiplier(i - 8) * (2 ** bits - 1));
  });
  return {
    kind: 'codes',
    bits,
    outFeatures,
    inFeatures,
    panels: panelsFromCodes(flat, outFeatures, inFeatures, bits),
    groups: size ? { size, records } : undefined,
    scale: Float32Array.from({ length: outFeatures }, (_, i) => (i + 1) / 1024),
    zero: Uint8Array.from({ length: outFeatures }, (_, i) => (i * 29) % (size ? 128 : 2 ** bits)),
    bias: noise(11, outFeatures),
    balance: balanced ? noise(12, inFeatures).map((value) => 1 + Math.abs(value)) : undefined,
    activationBits,
  };
}

type Operation = (engine: Engine) => Tensor;
const vector = (engine: Engine, stream: number) => engine.input(noise(stream, 2 * 24), [2, 24]);
const matrix = (engine: Engine, rows = 10, stream = 20) => engine.input(noise(stream, 2 * rows * 24), [2, rows, 24]);
const norm = (engine: Engine): Operand['pass'] => {
  return { kind: 'norm', eps: 1e-6, modulation: { shift: vector(engine, 21), scale: vector(engine, 22) } };
};
const float = (outFeatures: number, inFeatures: number): LinearSource => {
  return {
    kind: 'float',
    outFeatures,
    inFeatures,
    weight: noise(30, outFeatures * inFeatures),
    bias: noise(31, outFeatures),
  };
};

const operations: Record<string, Operation> = {
  'float linear': (e) => e.apply(e.linear(float(13, 24)), e.operand(matrix(e))),
  'float linear after norm': (e) => e.apply(e.linear(float(24, 24)), e.operand(matrix(e), norm(e))),
  'float linear after plain norm': (e) =>
    e.apply(e.linear(float(24, 24)), e.operand(matrix(e), { kind: 'norm', eps: 1e-5 })),
  'float linear after gelu': (e) => e.apply(e.linear(float(8, 24)), e.operand(matrix(e), { kind: 'gelu' })),
  'float linear after silu': (e) => e.apply(e.linear(float(8, 24)), e.operand(matrix(e), { kind: 'silu' })),
  'self-attention': (e) =>
    e.attention(matrix(e), matrix(e, 10, 40), matrix(e, 10, 41), { heads: 3, precision: 'float' }),
  'self-attention over many tokens': (e) =>
    e.attention(matrix(e, 101), matrix(e, 101, 40), matrix(e, 101, 41), { heads: 2, precision: 'float' }),
  'self-attention over several blocks of keys, the first of them hidden': (e) =>
    e.attention(matrix(e, 601), matrix(e, 601, 40), matrix(e, 601, 41), {
      heads: 2,
      precision: 'float',
      keyBias: Float32Array.from({ length: 1202 }, (_, i) => (i % 601 < 300 ? -10000 : i % 7)),
    }),
  'cross-attention with hidden keys': (e) =>
    e.attention(matrix(e), matrix(e, 5, 40), matrix(e, 5, 41), {
      heads: 2,
      precision: 'float',
      keyBias: Float32Array.from({ length: 10 }, (_, i) => (i % 5 > 2 ? -10000 : 0)),
    }),
  'add of a repeated table': (e) => e.add(matrix(e), e.input(noise(50, 5 * 24), [5, 24])),
  'float linear into its input, gated and not': (e) => {
    const x = matrix(e);
    e.applyInto(x, e.linear(float(24, 24)), e.operand(matrix(e, 10, 60)), vector(e, 61));
    e.applyInto(x, e.linear(float(24, 24)), e.operand(x, { kind: 'gelu' }));
    return x;
  },
  'select, reshape and concat': (e) => {
    const t = e.reshape(matrix(e, 6), [2, 3, 48]);
    return e.concat([e.select(t, 2), e.select(t, 0)]);
  },
  'reshape of a selected vector': (e) => {
    const t = e.reshape(matrix(e, 6), [1, 6, 48]);
    return e.concat([e.reshape(e.select(t, 4), [2, 24]), e.reshape(e.select(t, 1), [2, 24])]);
  },
};

function relativeError(got: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let total = 0;
  expected.forEach((value, i) => {
    difference += (got[i] - value) ** 2;
    total += value ** 2;
  });
  return Math.sqrt(difference / total);
}

for (const { name, open, skip, tolerance = 1e-6, sumsOnly } of engines) {
  describe(`engine ${name}`, { skip }, () => {
    it('passes its self-test', async () => assert.equal(await selfTest(await open()), undefined));
    if (sumsOnly) return;

    for (const [operation, run] of Object.entries(operations)) {
      it(`${operation}: within ${tolerance} of the reference, in shape too`, async () => {
        const [engine, reference] = [await open(), new ReferenceEngine()];
        const [got, expected] = [run(engine), run(reference)];
        assert.deepEqual(got.shape, expected.shape);
        assert.ok(relativeError(await engine.read(got), await reference.read(expected)) < tolerance);
      });
    }

    it('int8 attention: what plain loops give, close to float, hidden keys hidden', async () => {
      for (const [tokens, keys, heads] of [
        [10, 10, 3],
        [205, 205, 2],
        [10, 5, 2],
        [7, 1, 6],
      ] as const) {
        const keyBias = Float32Array.from({ length: 2 * keys }, (_, i) => (keys > 1 && i % keys === 0 ? -10000 : 0));
        const run = (e: Engine, precision: 'int8' | 'float') => {
          const [q, k, v] = [matrix(e, tokens), matrix(e, keys, 40), matrix(e, keys, 41)];
          return e.read(e.attention(q, k, v, { heads, keyBias, precision }));
        };
        const got = await run(await open(), 'int8');
        // The engine's exp may move a probability by one code of 255.
        assert.ok(relativeError(got, await run(new ReferenceEngine(), 'int8')) < 1e-3, `${tokens} x ${keys}`);
        assert.ok(relativeError(got, await run(new ReferenceEngine(), 'float')) < 2e-2, `${tokens} x ${keys}`);
      }
    });

    for (const bits of [4, 5, 6, 8] as const) {
      const both = async (run: (engine: Engine) => Tensor) => {
        const [engine, reference] = [await open(), new ReferenceEngine()];
        return [await engine.read(run(engine)), await reference.read(run(reference))];
      };
      /** The same bits of all that `run` makes. */
      const equal = async (run: (engine: Engine) => Tensor) => {
        const [got, expected] = await both(run);
        assert.deepEqual(got, expected);
      };
      /** Of float products: the same bits, but for GPUs, which round a product and a sum once. */
      const alike = async (run: (engine: Engine) => Tensor) => {
        const [got, expected] = await both(run);
        if (tolerance === GPU_TOLERANCE) assert.ok(relativeError(got, expected) < tolerance);
        else assert.deepEqual(got, expected);
      };

      it(`W${bits}A8 linear: the reference's bits, for one row and for more than a block of rows`, async () => {
        for (const rows of [1, 200]) {
          for (const size of bits === 8 ? [undefined] : [undefined, 24, 8, 4]) {
            const options = { balanced: rows > 1, size };
            await equal((e) => e.apply(e.linear(codes(bits, 21, 24, options)), e.operand(matrix(e, rows))));
          }
        }
      });

      // Every width is a kernel to compile, for minutes on a software GPU: what is not about panels is tried with two.
      if (tolerance === GPU_TOLERANCE && (bits === 5 || bits === 6)) continue;

      it(`W${bits}A8 linear into a tensor: the reference's bits, with a gate of its own for each sample and without`, () =>
        equal((e) => {
          const x = matrix(e, 100);
          const gates = e.reshape(e.input(noise(61, 3 * 2 * 24), [2, 72]), [2, 3, 24]);
          const layer = e.linear(codes(bits, 24, 24));
          const operand = e.operand(matrix(e, 100, 60));
          e.applyInto(x, layer, operand, e.select(gates, 1));
          e.applyInto(x, layer, operand);
          return e.add(x, e.apply(layer, operand));
        }));

      it(`W${bits} linear of float activations: the reference's bits, whatever the weights' groups`, async () => {
        for (const rows of [1, 7, 200]) {
          for (const size of bits === 8 ? [undefined] : [undefined, 12]) {
            const source = codes(bits, 21, 24, { size, activationBits: 'float' });
            await alike((e) => e.apply(e.linear(source), e.operand(matrix(e, rows))));
          }
        }
        await alike((e) => {
          const x = matrix(e);
          const layer = e.linear(codes(bits, 24, 24, { activationBits: 'float' }));
          e.applyInto(x, layer, e.operand(matrix(e, 10, 60)), vector(e, 61));
          return x;
        });
      });

      it(`W${bits}A8 linear after each pass: an operand shared by float and quantized layers`, async () => {
        for (const pass of ['gelu', 'silu', 'norm'] as const) {
          const run = (e: Engine) => {
            const operand = e.operand(matrix(e), pass === 'norm' ? norm(e) : { kind: pass });
            const quantized = e.apply(e.linear(codes(bits, 16, 24)), operand);
            e.applyInto(quantized, e.linear(codes(bits, 16, 24, { balanced: true })), operand);
            e.applyInto(quantized, e.linear(codes(bits, 16, 24, { activationBits: 'float' })), operand);
            e.applyInto(quantized, e.linear(float(16, 24)), operand);
            return quantized;
          };
          const [engine, reference] = [await open(), new ReferenceEngine()];
          // The last bit of a float pass may move an activation by one code.
          assert.ok(relativeError(await engine.read(run(engine)), await reference.read(run(reference))) < 2e-3);
        }
      });
    }

    it('has layers of the same values in a place, one after another, under activations that are held', async () => {
      const engine = await open();
      if (!engine.place) return;
      const sources = [
        codes(4, 16, 24, { balanced: true }),
        codes(8, 16, 24),
        codes(5, 16, 24, { size: 8, balanced: true }),
        codes(8, 16, 24, { activationBits: 'float' }),
        float(16, 24),
      ];
      const kept = engine.linear(codes(8, 16, 24, { balanced: true }));
      const [place, other] = [engine.place(8192), engine.place(8192)];
      const beside = other.fill(() => engine.linear(sources[0]));
      const x = matrix(engine);
      const held = engine.apply(kept, engine.operand(x));
      const before = await engine.read(held);
      for (const source of [...sources, ...sources]) {
        place.clear();
        const mark = engine.mark();
        const layer = place.fill(() => engine.linear(source));
        assert.equal(engine.mark(), mark, 'nothing of a place lies on the stack');
        const operand = engine.operand(x);
        const results = [beside, layer, kept].map((linear) => engine.apply(linear, operand));
        const expected = [sources[0], source, codes(8, 16, 24, { balanced: true })].map((given) =>
          engine.apply(engine.linear(given), engine.operand(x)),
        );
        for (const [i, result] of results.entries()) {
          assert.deepEqual(await engine.read(result), await engine.read(expected[i]));
        }
        engine.release(mark);
        assert.deepEqual(await engine.read(held), before);
      }
    });

    it('gives activations back', async () => {
      const engine = await open();
      const mark = engine.mark();
      matrix(engine, 3000);
      engine.release(mark);
      const { bytes } = engine;
      for (let i = 0; i < 5; i++) {
        matrix(engine, 3000);
        engine.release(mark);
      }
      assert.equal(engine.bytes, bytes);
    });
  });
}

describe('the wasm engine', () => {
  it('refuses what does not fit the budget before it allocates', async () => {
    const meter = new Meter(8 * 2 ** 20);
    const { engine } = await openWasmEngine(modules, meter);
    assert.throws(() => engine.input(new Float32Array(3 * 2 ** 20), [3, 2 ** 20]), { code: 'memory-exceeded' });
    assert.ok(meter.current <= meter.budget);
  });

  it('refuses to fill a place with more than it has room for', async () => {
    const { engine } = await openWasmEngine(modules, new Meter());
    const place = engine.place!(1024);
    assert.throws(() => place.fill(() => engine.linear(float(24, 24))), { code: 'internal', message: /place/ });
    // What is made afterwards lies on the stack again.
    const tensor = engine.input(noise(1, 4096), [4096]);
    assert.deepEqual(await engine.read(tensor), noise(1, 4096));
  });

  it('names why no variant runs', async () => {
    await assert.rejects(openWasmEngine({ float: modules.float }, new Meter()), {
      code: 'engine-unavailable',
      message: /not shipped/,
    });
  });

  it('falls back, and says so, when a kernel computes wrongly', async () => {
    // The 8-bit kernel's epilogue multiplies its scales; this module adds them instead.
    const bytes = assembleKernels('simd');
    const broken = bytes.slice();
    const multiply = [0xfd, 0xe6, 0x01];
    for (let i = 0; i + 2 < broken.length; i++) {
      if (multiply.every((byte, j) => bytes[i + j] === byte)) broken[i + 1] = 0xe4;
    }
    assert.ok(WebAssembly.validate(broken));
    await assert.rejects(openWasmEngine({ ...modules, simd: new WebAssembly.Module(broken) }, new Meter(), 'simd'), {
      code: 'engine-unavailable',
      message: /self-test/,
    });
  });
});
