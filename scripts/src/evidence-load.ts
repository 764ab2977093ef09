/**
 * 200 clients at once for two minutes, on the emoji model in workerd and in Node, from another process. Writes
 * docs/results/load.json. `--clients n`, `--seconds n`, `--seed n`, `--target name`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { publishEmoji } from '@edge-dit/sdk/testing/emoji-store';
import { killableServers } from './jobs/killable-servers.ts';
import { load } from './load/load.ts';
import { randomOf } from './random.ts';
import { root } from './repository.ts';

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '200' },
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: '1' },
    target: { type: 'string', multiple: true, default: Object.keys(killableServers) },
  },
});
const [clients, seconds, seed] = [values.clients, values.seconds, values.seed].map(Number);
const emoji = await publishEmoji('w4a8');
const prompts = ['red apple, fluent 3d style', 'rocket, noto style', 'cat, twemoji style', 'sun, fluent flat style'];
const bodies = Array.from({ length: 12 }, (_, i) => ({ prompt: prompts[i % 4], seed: i, steps: 2 }));
const results: Record<string, unknown> = {};
for (const target of values.target) {
  const server = await killableServers[target]({
    storeFolder: emoji.folder,
    models: ['emoji'],
    // Node's onnxruntime and engine are counted together.
    memoryLimitMb: target === 'node' ? 512 : undefined,
    logLevel: 'error',
  });
  try {
    const onProgress = (line: string) => console.error(`${target}: ${line}`);
    const random = randomOf(seed);
    // So many requests that the engines' heaps have the size that they keep: what grows after that is a leak.
    const times = { seconds, warmUpSeconds: seconds, restSeconds: 10 };
    results[target] = await load({ server, bodies, clients, ...times, random, onProgress });
    console.error(JSON.stringify(results[target]));
  } finally {
    await server.kill();
  }
}
await emoji.remove();
mkdirSync(join(root, 'docs/results'), { recursive: true });
const report = { command: `npm run evidence:load -- --clients ${clients} --seconds ${seconds}`, results };
writeFileSync(join(root, 'docs/results/load.json'), `${JSON.stringify(report, null, 2)}\n`);
console.log(JSON.stringify(report, null, 2));
