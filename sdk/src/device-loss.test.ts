/** A device that is lost in the middle of a generation: the steps that were done stay done, and the picture is the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseEngine } from '@edge-dit/runtime/engines/choose-engine';
import type { EngineKind } from '@edge-dit/runtime/engines/kinds/kind';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { putModel, randomModel } from './testing/random-model.ts';

const kernels = await compileKernels();
const store = new MemoryStore();
await putModel(store, await randomModel({ model: 'm', seed: 1 }));
const row = {
  count: 1,
  tokens: 8,
  channels: 32,
  data: new Float32Array(256).fill(0.5),
  mask: new Int32Array(8).fill(1),
};
const request = { embedding: { prompt: row, negative: row }, seed: 5, steps: 6 };

/** The real engine, until so many answers were read from it; then as a GPU that was taken away. Counts how often it was opened. */
function losing(name: string, reads: number) {
  const opened = { times: 0 };
  const kind: EngineKind = {
    name,
    summary: 'for tests',
    async open({ meter }) {
      opened.times++;
      const inner = await openWasmEngine(kernels, meter, 'simd');
      const { engine } = inner;
      const read = engine.read.bind(engine);
      let left = reads;
      engine.read = async (tensor) => {
        if (left-- <= 0) throw new EdgeDitError('device-lost', 'the GPU was taken away (unknown)');
        return read(tensor);
      };
      return inner;
    },
  };
  return { kind, opened };
}
const wasm: EngineKind = { name: 'wasm', summary: 'for tests', open: ({ meter }) => openWasmEngine(kernels, meter) };

async function draw(kinds: readonly EngineKind[]) {
  const openEngine = chooseEngine({ kinds, engine: kinds.map(({ name }) => name) });
  const meter = new Meter();
  const pipeline = await Pipeline.open({ store, model: 'm', kernels, openEngine, meter });
  const steps: number[] = [];
  const done = pipeline.generate(request, { onStep: (step) => void steps.push(step) });
  return { pipeline, steps, meter, done };
}

const { rgb: expected } = await (await draw([wasm])).done;

test('the same kind goes on where it can be had again, then another one; no step is done twice', async () => {
  const gpu = losing('gpu', 2);
  const { pipeline, steps, meter, done } = await draw([gpu.kind, wasm]);
  assert.deepEqual((await done).rgb, expected);
  assert.deepEqual(steps, [1, 2, 3, 4, 5, 6]);
  assert.equal(gpu.opened.times, 2);
  assert.match(pipeline.engine!.name, /^wasm/);
  assert.match(pipeline.engine!.notes[0], /^gpu: its device was lost after step 4 \(the GPU was taken away/);
  await pipeline.close();
  assert.equal(meter.current, 0, JSON.stringify([...meter.held]));
});

test('a device that is lost before its first step costs nothing but time', async () => {
  const { steps, done } = await draw([losing('gpu', 0).kind, wasm]);
  assert.deepEqual((await done).rgb, expected);
  assert.deepEqual(steps, [1, 2, 3, 4, 5, 6]);
});

test('where nothing else can be had, the loss is an error, and the next request may try again', async () => {
  const { pipeline, done } = await draw([losing('gpu', 1).kind]);
  await assert.rejects(
    done,
    (error) => isEdgeDitError(error, 'engine-unavailable') && /lost 2 times/.test(String(error)),
  );
  await assert.rejects(pipeline.generate(request), (error) => isEdgeDitError(error, 'engine-unavailable'));
});
