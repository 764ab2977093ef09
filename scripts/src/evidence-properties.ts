/**
 * 5,000 requests made from the OpenAPI document, in workerd and in Node. Writes docs/results/properties.json. `--requests n`,
 * `--seed n`, `--target name`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { targets } from '@edge-dit/functions/targets/index';
import { publishTiny } from '@edge-dit/sdk/testing/tiny-class-model';
import { checkProperties } from './properties/properties.ts';
import { root } from './repository.ts';

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '5000' },
    target: { type: 'string', multiple: true, default: targets.map(({ name }) => name) },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [requests, seed] = [values.requests, values.seed].map(Number);
const tiny = await publishTiny();
const results: Record<string, unknown> = {};
for (const target of targets.filter(({ name }) => values.target.includes(name))) {
  const limits = { steps: 4, side: 32, pictures: 2, keptMs: 2000 };
  const served = await target.serve({ store: tiny.store, models: ['tiny'], limits, logLevel: 'error' });
  const onProgress = (done: number) => {
    if (done % 500 === 0) console.error(`${target.name}: ${done} of ${requests}`);
  };
  results[target.name] = await checkProperties({ url: served.url, requests, seed, onProgress });
  await served.close();
}
await tiny.remove();
mkdirSync(join(root, 'docs/results'), { recursive: true });
const report = {
  command: `npm run evidence:properties -- --requests ${requests} --seed ${seed}${values.target.map((name) => ` --target ${name}`).join('')}`,
  results,
};
writeFileSync(join(root, 'docs/results/properties.json'), `${JSON.stringify(report, null, 2)}\n`);
console.log(JSON.stringify(report, null, 2));
