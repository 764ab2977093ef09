/** How layers want their activations: every width, rotated or not, has the reference's bits in every variant. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { supportedVariants } from '@edge-dit/wasm-kernels';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { panelsFromCodes } from '../format/encodings.ts';
import { Meter } from '../meter.ts';
import { gaussianNoise } from '../noise.ts';
import { nodeGpu } from '../testing/node-gpu.ts';
import type { ActivationBits, Engine, LinearSource, Operand } from './engine.ts';
import { openWasmEngine } from './open-wasm.ts';
import { openWebGpuEngine } from './open-webgpu.ts';
import { ReferenceEngine } from './reference.ts';

const modules = await compileKernels();
const noise = (stream: number, length: number) => gaussianNoise(9, stream, length);
const OUT = 11;

interface Form {
  readonly inFeatures: number;
  readonly activationBits?: ActivationBits;
  readonly balanced?: boolean;
  /** Which signs; none without it. */
  readonly rotation?: number;
}

function layer({ inFeatures, activationBits, balanced, rotation }: Form): LinearSource {
  const codes = Uint8Array.from({ length: OUT * inFeatures }, (_, i) => (i * i * 31) % 251);
  return {
    kind: 'codes',
    bits: 8,
    outFeatures: OUT,
    inFeatures,
    panels: panelsFromCodes(codes, OUT, inFeatures),
    scale: Float32Array.from({ length: OUT }, (_, i) => (i + 1) / 4096),
    zero: Uint8Array.from({ length: OUT }, (_, i) => 100 + 5 * i),
    balance: balanced ? noise(2, inFeatures).map((value) => 0.5 + Math.abs(value)) : undefined,
    rotation:
      rotation === undefined ? undefined : noise(rotation, inFeatures).reduce(signsOf, new Uint8Array(inFeatures)),
    activationBits,
  };
}

function signsOf(signs: Uint8Array, value: number, i: number): Uint8Array {
  signs[i] = Number(value < 0);
  return signs;
}

/** Channels that stand out, as those of transformers do. */
const input = (e: Engine, inFeatures: number, rows = 5) =>
  e.input(
    noise(1, rows * inFeatures).map((value, i) => (i % 37 === 0 ? 40 * value : value)),
    [rows, inFeatures],
  );

interface EngineUnderTest {
  readonly name: string;
  readonly open: () => Promise<Engine>;
  /** Inputs of layers; every number is kernels to compile on a GPU, slowly on a software one. */
  readonly sizes: readonly number[];
  /** Why it cannot run here. */
  readonly skip?: string;
}

const gpu = await nodeGpu();
let onGpu: Promise<Engine> | undefined;
const openGpu = () =>
  (onGpu ??= openWebGpuEngine(new Meter(2 ** 30), { gpu: gpu as GPU }).then(({ engine }) => engine));
const engines: EngineUnderTest[] = [
  ...supportedVariants().map((variant) => ({
    name: `wasm, ${variant}`,
    open: async () => (await openWasmEngine(modules, new Meter(), variant)).engine,
    sizes: [4, 48, 64, 384, 1152, 1536],
  })),
  { name: 'webgpu', open: openGpu, sizes: [64, 384], skip: typeof gpu === 'string' ? gpu : undefined },
];

for (const { name, open, sizes, skip } of engines) {
  describe(`activations of the engine ${name}`, { skip }, () => {
    for (const activationBits of [4, 5, 6, 7, 8] as const) {
      it(`${activationBits} bits: the reference's, rotated or not, balanced or not`, async () => {
        const [engine, reference] = [await open(), new ReferenceEngine()];
        for (const inFeatures of sizes) {
          for (const balanced of [false, true]) {
            for (const rotation of [undefined, 5]) {
              const source = layer({ inFeatures, activationBits, balanced, rotation });
              const run = (e: Engine) => e.read(e.apply(e.linear(source), e.operand(input(e, inFeatures))));
              assert.deepEqual(
                await run(engine),
                await run(reference),
                JSON.stringify({ inFeatures, balanced, rotation }),
              );
            }
          }
        }
      });
    }

    it('layers of several forms share an operand, each with what it wants', async () => {
      const forms: Form[] = [
        { inFeatures: 48 },
        { inFeatures: 48, activationBits: 4 },
        { inFeatures: 48, rotation: 5 },
        { inFeatures: 48, rotation: 6 },
        { inFeatures: 48, rotation: 5, activationBits: 6 },
        { inFeatures: 48, rotation: 5, balanced: true },
        { inFeatures: 48, balanced: true },
      ];
      const engine = await open();
      const layers = forms.map((form) => engine.linear(layer(form)));
      const shared = engine.operand(input(engine, 48));
      const results: string[] = [];
      for (const one of [...layers, ...layers]) {
        const got = await engine.read(engine.apply(one, shared));
        assert.deepEqual(got, await engine.read(engine.apply(one, engine.operand(input(engine, 48)))));
        results.push(got.join());
      }
      assert.equal(new Set(results).size, forms.length, 'forms that differ give different outputs');
    });

    it('a form holds its memory once', async () => {
      const engine = await open();
      // Marks of a GPU count its buffers.
      if (engine.name === 'webgpu') return;
      const make = () => engine.linear(layer({ inFeatures: 1152, rotation: 5, balanced: true }));
      const marks = [engine.mark()];
      for (let i = 0; i < 3; i++) {
        make();
        marks.push(engine.mark());
      }
      const [first, second, third] = [1, 2, 3].map((i) => marks[i] - marks[i - 1]);
      assert.equal(second, third);
      assert.ok(first >= second + 4 * (2 * 1152 + 36 * 36), `${first} bytes, then ${second}`);
    });

    it('a rotation comes after each pass, and leaves the operand as it was', async () => {
      const engine = await open();
      const vector = (stream: number) => engine.input(noise(stream, 48), [1, 48]);
      const modulation = { shift: vector(3), scale: vector(4) };
      const passes: Operand['pass'][] = [
        { kind: 'gelu' },
        { kind: 'silu' },
        { kind: 'norm', eps: 1e-6, modulation },
        { kind: 'none' },
      ];
      const rotated = engine.linear(layer({ inFeatures: 48, activationBits: 5, balanced: true, rotation: 5 }));
      for (const pass of passes) {
        const x = input(engine, 48);
        const before = await engine.read(x);
        const got = await engine.read(engine.apply(rotated, engine.operand(x, pass)));
        assert.deepEqual(await engine.read(x), before);
        const apart = engine.materialize(engine.operand(x, pass));
        assert.deepEqual(got, await engine.read(engine.apply(rotated, engine.operand(apart))), pass.kind);
      }
    });

    it('says which inputs cannot be rotated', async () => {
      const engine = await open();
      assert.throws(() => engine.linear(layer({ inFeatures: 100, rotation: 5 })), {
        code: 'config-unsupported',
        message: /100 inputs/,
      });
    });
  });
}
