/**
 * That jobs survive: 100 of them on an endpoint in workerd (Durable Objects) and in Node (files), whose process is killed with
 * `kill -9` at random instants. Writes docs/results/jobs.json. `--jobs n`, `--kills n`, `--seed n`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { killJobs } from './jobs/kill-jobs.ts';
import { killableServers } from './jobs/killable-servers.ts';
import { randomOf } from './random.ts';
import { root } from './repository.ts';

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '100' },
    kills: { type: 'string', default: '16' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const seed = Number(values.seed);
const onProgress = (line: string) => console.error(line);
const results = [];
for (const target of Object.keys(killableServers)) {
  const [jobs, kills] = [Number(values.jobs), Number(values.kills)];
  results.push(await killJobs({ target, jobs, kills, steps: 20, lifeMs: 2500, random: randomOf(seed), onProgress }));
}
mkdirSync(join(root, 'docs/results'), { recursive: true });
const report = {
  command: `npm run evidence:jobs -- --jobs ${values.jobs} --kills ${values.kills} --seed ${seed}`,
  results,
};
writeFileSync(join(root, 'docs/results/jobs.json'), `${JSON.stringify(report, null, 2)}\n`);
console.log(JSON.stringify(report, null, 2));
