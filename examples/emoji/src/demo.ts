/**
 * The whole path on this machine: the emoji model is quantized to 4 bits and published to a folder, an endpoint starts
 * in workerd (the runtime of Cloudflare Workers), and a prompt is posted to it twice. The picture lies in `.edge-dit/`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serveWorkerd } from '@edge-dit/functions/serve-workerd';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { describeModel } from '@edge-dit/sdk/describe-model';
import { quantize } from '@edge-dit/sdk/quantize/quantize';
import { recipeByName } from '@edge-dit/sdk/recipes/index';

const example = fileURLToPath(new URL('..', import.meta.url));
const folder = join(example, '.edge-dit');
const model = 'emoji-w4a8';
const prompt = process.argv.slice(2).join(' ') || 'red apple, fluent 3d style';
const request = { prompt, seed: 1, steps: 20, guidance: 3 };

const say = (line = '') => console.log(line);
const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
/** As the user sees it from where npm was started. */
const shown = (path: string) => relative(process.env.INIT_CWD ?? process.cwd(), path) || '.';

async function timed<T>(title: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  say(`${title}: ${((performance.now() - start) / 1000).toFixed(2)} s`);
  return result;
}

async function post(url: string) {
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request),
  });
  if (!response.ok) throw new Error(`POST ${url}/generate: ${response.status} ${await response.text()}`);
  return { png: new Uint8Array(await response.arrayBuffer()), headers: response.headers };
}

say(`1. Quantize ${shown(join(example, 'model'))} to 4-bit weights and 8-bit activations, and publish it to a folder.`);
const store = new FsStore(join(folder, 'store'));
const checkpoint = await openCheckpoint(join(example, 'model'));
const published = await timed('   quantized, packed and published', () =>
  quantize({
    checkpoint,
    recipe: recipeByName('w4a8'),
    model,
    store,
    defaults: { steps: request.steps, guidance: request.guidance },
  }),
);
await checkpoint.close();
const { shards, floatBytes16, ratio, files } = describeModel(published.manifest, published.digest);
say(`   shards: ${mib(shards.bytes)}, ${(100 * ratio).toFixed(1)} % of the float16 transformer's ${mib(floatBytes16)}`);
say(`   and ${files.map(({ name, bytes }) => `${name} (${mib(bytes)})`).join(', ')}`);
say(
  published.sentObjects === 0
    ? `   all ${published.skippedObjects} objects were in ${shown(join(folder, 'store'))} already: nothing was sent`
    : `   sent ${published.sentObjects} objects, ${mib(published.sentBytes)}, to ${shown(join(folder, 'store'))}`,
);

say('\n2. Bundle the worker and start it in workerd.');
const served = await timed('   started', () => serveWorkerd({ store, models: [model] }));
try {
  say(`   POST ${served.url}/generate`);

  say(`\n3. Ask for "${prompt}", seed ${request.seed}, ${request.steps} steps.`);
  const first = await timed('   first picture (fetches and verifies the model, encodes the prompt)', () =>
    post(served.url),
  );
  const second = await timed('   second picture (all is loaded)', () => post(served.url));
  const same = Buffer.compare(first.png, second.png) === 0;
  say(`   ${same ? 'the same bytes both times' : 'THE TWO PICTURES DIFFER, and must not'}`);
  say(
    `   ${first.headers.get('x-engine')}, at most ${mib(Number(second.headers.get('x-memory-peak')))} of 128 MiB held`,
  );

  const slug =
    prompt
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-|-$/g, '')
      .slice(0, 80) || 'picture';
  const path = join(folder, `${slug}.png`);
  await mkdir(folder, { recursive: true });
  await writeFile(path, first.png);
  say(`\nThe picture is ${shown(path)}`);
  if (!same) process.exitCode = 1;
} finally {
  await served.close();
}
