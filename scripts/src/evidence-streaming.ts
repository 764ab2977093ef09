/**
 * That a model larger than memory runs in an isolate: a PixArt of random 4-bit weights, 400 MB, in real workerd under a meter
 * of 128 MB, the same picture as with everything there; and what a step takes beside reading its bytes and beside computing
 * alone. Writes docs/results/streaming.json. `--layers n` for a smaller one.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median } from '@edge-dit/sdk/bench/report/figures';
import { openStreamingWorker } from '@edge-dit/sdk/testing/open-streaming-worker';
import { randomModel } from '@edge-dit/sdk/testing/random-model';
import { largePixart } from './large-pixart.ts';
import { root } from './repository.ts';

const LAYERS = 36;
const { values } = parseArgs({ options: { layers: { type: 'string', default: String(LAYERS) } } });
const layers = Number(values.layers);
const MIB = 2 ** 20;
const [BUDGET, WHOLE] = [128 * MIB, 1024 * MIB];
const model = 'streaming';
const config = largePixart(layers);

console.log(`making ${layers} blocks of random 4-bit weights`);
const random = await randomModel({ model, seed: 1, config, codedModulation: true, maxTokens: 120 });
const { shards } = random.manifest;
const bytes = shards.reduce((sum, { length }) => sum + length, 0);
const worker = await openStreamingWorker(random);
const request = { seed: 7, steps: 3, guidance: 1 };
const mb = (count: number) => `${(count / 1e6).toFixed(1)} MB`;
try {
  console.log(`${mb(bytes)} in ${shards.length} shards; under ${BUDGET / MIB} MiB:`);
  const first = await worker.generate({ model, memory: BUDGET, request });
  const second = await worker.generate({ model, memory: BUDGET, request });
  const { streaming } = first;
  const readMs = await worker.read({ model, read: second.lastRead, passes: 5 });
  console.log(`with everything there, under ${WHOLE / MIB} MiB:`);
  const whole = await worker.generate({ model, memory: WHOLE, request });
  const wholeAgain = await worker.generate({ model, memory: WHOLE, request });

  const same = [first, second, whole, wholeAgain].every(({ sha256 }) => sha256 === first.sha256);
  const within = first.peakBytes <= BUDGET && bytes > BUDGET && streaming.streamed > 0;
  // The first step of a picture waits for its first block; the others are alike.
  const step = median([...first.stepMs.slice(1), ...second.stepMs.slice(1)]);
  const computing = median(wholeAgain.stepMs.slice(1));
  const reading = median([...readMs]);
  const report = {
    command: 'npm run evidence:streaming',
    cpu: cpus()[0].model,
    engine: first.engine,
    model: { layers, bytes, shards: shards.length, config },
    request,
    sha256: first.sha256,
    same,
    budgetBytes: BUDGET,
    peakBytes: first.peakBytes,
    streaming,
    requestsEachStep: second.reads.at(-1),
    stepMs: { streamed: step, computingAlone: computing, readingAlone: reading },
    stepOverReadingFloor: step / reading,
    stepOverSum: step / (computing + reading),
    firstPictureMs: first.stepMs,
    secondPictureMs: second.stepMs,
    wholeMs: wholeAgain.stepMs,
    readMs,
  };
  console.log(JSON.stringify(report, null, 2));
  if (layers === LAYERS) {
    mkdirSync(join(root, 'docs/results'), { recursive: true });
    writeFileSync(join(root, 'docs/results/streaming.json'), `${JSON.stringify(report, null, 2)}\n`);
  }
  console.log(
    `the picture is ${same ? 'the same' : 'NOT THE SAME'}; at most ${mb(first.peakBytes)} of ${mb(BUDGET)}; ${streaming.streamed} of ${streaming.blocks} blocks read in each step: ${(step / 1000).toFixed(2)} s, reading alone ${(reading / 1000).toFixed(2)} s, computing alone ${(computing / 1000).toFixed(2)} s`,
  );
  process.exitCode = same && within ? 0 : 1;
} finally {
  await worker.close();
}
