/** Which engine a host gets, and why; and that a generation goes on when the engine's device is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { supportedVariants } from '@edge-dit/wasm-kernels';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import { Meter } from '../meter.ts';
import { chooseEngine } from './choose-engine.ts';
import { engineKinds } from './kinds/index.ts';
import type { EngineKind } from './kinds/kind.ts';
import { openWasmEngine } from './open-wasm.ts';

const kernels = await compileKernels();

/** What the host's fastest kernels give, each read delayed. */
const delayed = (name: string, ms: number): EngineKind => ({
  name,
  summary: 'for tests',
  async open({ meter }) {
    const opened = await openWasmEngine(kernels, meter, 'simd');
    const { engine } = opened;
    const read = engine.read.bind(engine);
    engine.read = async (tensor) => {
      await new Promise((resolve) => setTimeout(resolve, ms));
      return read(tensor);
    };
    return opened;
  },
});
const broken: EngineKind = {
  name: 'broken',
  summary: 'for tests',
  open: () => Promise.reject(new EdgeDitError('engine-unavailable', 'failed its self-test (3 is not 4)')),
};

test('every kind of the list opens here and computes, or says why not', async (t) => {
  for (const kind of engineKinds) {
    try {
      const meter = new Meter();
      const opened = await kind.open({ kernels, meter });
      t.diagnostic(`${kind.name}: ${opened.engine.name}`);
      opened.close();
      assert.equal(meter.current, 0, `${kind.name} keeps ${JSON.stringify([...meter.held])}`);
    } catch (error) {
      assert.ok(isEdgeDitError(error, 'engine-unavailable'), `${kind.name}: ${error}`);
      t.diagnostic(`${kind.name}: ${error.message}`);
    }
  }
});

test('auto takes the fastest by measurement, passes over what fails, says why, and closes the others', async () => {
  const meter = new Meter();
  const lost: EngineKind = {
    ...delayed('lost', 0),
    async open(host) {
      const opened = await openWasmEngine(kernels, host.meter, 'simd');
      opened.engine.read = () => Promise.reject(new EdgeDitError('device-lost', 'the GPU was taken away'));
      return opened;
    },
  };
  const kinds = [broken, lost, delayed('slow', 300), delayed('quick', 0)];
  const opened = await chooseEngine({ kinds })(kernels, meter);
  assert.equal(opened.kind, 'quick');
  assert.match(opened.notes[0], /^broken: failed its self-test/);
  assert.equal(opened.notes[1], 'lost: the GPU was taken away');
  assert.match(opened.notes[2], /^slow: \d+\.\d ms in the probe/);
  assert.match(opened.notes[3], /^quick: \d+\.\d ms in the probe/);
  assert.equal(opened.notes[4], 'quick: the fastest');
  opened.close();
  assert.equal(meter.current, 0, JSON.stringify([...meter.held]));
});

test('one that is asked for is taken without measuring, or refused; of several the first that can be had', async () => {
  const kinds = [delayed('quick', 0), delayed('slow', 50), broken];
  const named = await chooseEngine({ kinds, engine: 'slow' })(kernels, new Meter());
  assert.deepEqual([named.kind, named.notes], ['slow', ['slow: asked for']]);
  const listed = await chooseEngine({ kinds, engine: ['broken', 'slow', 'quick'] })(kernels, new Meter());
  assert.equal(listed.kind, 'slow');
  await assert.rejects(chooseEngine({ kinds, engine: 'broken' })(kernels, new Meter()), (error) => {
    assert.ok(isEdgeDitError(error, 'engine-unavailable'));
    assert.match(error.message, /no engine runs here: broken: failed its self-test/);
    return true;
  });
  assert.throws(
    () => chooseEngine({ engine: 'wasm-realxed' }),
    (error) => isEdgeDitError(error, 'unknown-name') && /did you mean "wasm-relaxed"/.test(error.message),
  );
});

test('a kind whose device was lost is tried once more, then passed over', async () => {
  const kinds = [delayed('gpu', 0), delayed('wasm', 0)];
  const open = chooseEngine({ kinds, engine: ['gpu', 'wasm'] });
  assert.equal((await open(kernels, new Meter(), undefined, ['gpu'])).kind, 'gpu');
  const other = await open(kernels, new Meter(), undefined, ['gpu', 'gpu']);
  assert.equal(other.kind, 'wasm');
  assert.match(other.notes[0], /gpu: its device was lost 2 times/);
});

test('on a host with no more than WebAssembly the choice is one of its variants', async () => {
  const opened = await chooseEngine()(kernels, new Meter());
  const expected = supportedVariants().map((variant) => `wasm-${variant}`);
  assert.ok(expected.includes(opened.engine.name) || opened.kind === 'webgpu', opened.engine.name);
  opened.close();
});
