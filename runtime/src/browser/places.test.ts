/** The order of places, their patience, and what is said when they fail. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import { endpointPlace, generateAt, type Place, type Placed } from './places.ts';

const request = { prompt: 'red apple', seed: 1 };
const picture = (engine: string): Placed => ({ png: new Uint8Array(1), seed: 1, sampleMs: 1, engine });
const good = (name: string): Place => ({ name, patienceMs: 1000, generate: async () => picture(name) });
const failing = (name: string, error: Error): Place => ({
  name,
  patienceMs: 1000,
  generate: () => Promise.reject(error),
});
/** Says so many steps, one every 30 ms, then nothing. */
const silentAfter = (name: string, steps: number, patienceMs: number): Place => ({
  name,
  patienceMs,
  generate: (_, { signal, onProgress }) =>
    new Promise((_resolve, reject) => {
      let step = 0;
      const timer = setInterval(() => {
        if (step < steps) onProgress?.({ kind: 'step', step: ++step, steps: 20 });
      }, 30);
      signal?.addEventListener('abort', () => {
        clearInterval(timer);
        reject(new EdgeDitError('aborted', 'cancelled'));
      });
    }),
});

test('the first place that makes the picture makes it; those before it say why not', async () => {
  assert.deepEqual(await generateAt([good('device'), good('endpoint')], request), {
    ...picture('device'),
    place: 'device',
    passedOver: [],
  });
  const full = failing('device', new EdgeDitError('storage-full', 'no room'));
  const made = await generateAt([full, good('endpoint')], request);
  assert.equal(made.place, 'endpoint');
  assert.deepEqual(made.passedOver, [{ place: 'device', reason: 'no room', code: 'storage-full' }]);
});

test('a place that falls silent is left after its patience; one that goes on is not', async () => {
  const steps: number[] = [];
  const made = await generateAt([silentAfter('device', 5, 100), good('endpoint')], request, {
    onProgress: (progress) => void (progress.kind === 'step' && steps.push(progress.step)),
  });
  assert.deepEqual(steps, [1, 2, 3, 4, 5]);
  assert.match(made.passedOver[0].reason, /nothing was heard of it for 100 ms/);
});

test('a request that is refused is refused, and a cancelled one goes nowhere else', async () => {
  const refusing = failing('device', new EdgeDitError('invalid-request', 'steps 0'));
  await assert.rejects(generateAt([refusing, good('endpoint')], request), (error) =>
    isEdgeDitError(error, 'invalid-request'),
  );
  const cancelled = AbortSignal.timeout(20);
  const awake = setTimeout(() => {}, 1000);
  await assert.rejects(
    generateAt([silentAfter('device', 1, 5000), good('endpoint')], request, { signal: cancelled }),
    (error) => isEdgeDitError(error, 'aborted'),
  );
  clearTimeout(awake);
});

test('when all fail each is named; the only one says it itself', async () => {
  const [a, b] = [failing('a', new Error('no GPU')), failing('b', new TypeError('Failed to fetch'))];
  await assert.rejects(generateAt([a, b], request), (error) => {
    assert.ok(isEdgeDitError(error, 'engine-unavailable'));
    assert.match(error.message, /nowhere\. a: no GPU — b: Failed to fetch/);
    return true;
  });
  await assert.rejects(generateAt([a], request), /^Error: no GPU$/);
});

test('an endpoint that cannot be reached is passed over', async () => {
  const nobody = endpointPlace('the endpoint', 'http://127.0.0.1:9', { patienceMs: 2000 });
  assert.equal((await generateAt([nobody, good('device')], request)).place, 'device');
});
