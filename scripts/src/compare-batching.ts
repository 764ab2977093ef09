/**
 * Whether equal requests should share a batch: `npm run compare:batching`. Processor time of a guided step of the emoji model for
 * one picture, and for two and four in one batch, interleaved; and the memory that they take.
 */
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import { loadModel } from '@edge-dit/runtime/models/load-model';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { publishEmoji } from '@edge-dit/sdk/testing/emoji-store';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';

const ROUNDS = 7;
const SIZE = 128;
const [TOKENS, CHANNELS] = [24, 256];

const emoji = await publishEmoji('w4a8');
const meter = new Meter(512 * 2 ** 20);
const { engine } = await openWasmEngine(await compileKernels(), meter);
const { transformer } = await loadModel(emoji.store, emoji.manifest, engine, { meter });
const cpu = () => process.cpuUsage().user / 1000;

async function step(pictures: number): Promise<number> {
  const batch = 2 * pictures;
  const data = gaussianNoise(1, 1, batch * TOKENS * CHANNELS);
  const text = { count: batch, tokens: TOKENS, channels: CHANNELS, data, mask: new Int32Array(batch * TOKENS).fill(1) };
  const mark = engine.mark();
  const session = transformer.begin({ batch, frames: 1, height: SIZE, width: SIZE, text }, [500]);
  const sample = gaussianNoise(2, 2, batch * 3 * SIZE * SIZE);
  const start = cpu();
  await session.forward(sample, new Float32Array(batch).fill(500));
  const ms = cpu() - start;
  engine.release(mark);
  return ms / pictures;
}

const counts = [1, 2, 4];
const peaks = [];
for (const count of counts) {
  await step(count);
  peaks.push(meter.current / 2 ** 20);
}
const times = counts.map((): number[] => []);
for (let round = 0; round < ROUNDS; round++) {
  for (const [i, count] of counts.entries()) times[i].push(await step(count));
}
await emoji.remove();
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1];
const one = median(times[0]);
for (const [i, count] of counts.entries()) {
  const ms = median(times[i]);
  console.log(
    `${count} in a batch: ${ms.toFixed(0)} ms a picture and step (${(ms / one).toFixed(2)}), ${peaks[i].toFixed(1)} MiB`,
  );
}
