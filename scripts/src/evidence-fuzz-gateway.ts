/**
 * A hundred thousand requests that nobody would make, to a gateway: paths, methods, ranges and conditions. Fails at the first
 * that is answered with an error of the server, with other bytes than were asked for, or by a look at what is not served.
 * Writes docs/results/fuzz-gateway.json. Takes --cases and --seed.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fuzzGateway } from '@edge-dit/sdk/testing/fuzz-gateway';
import { root } from './repository.ts';

const { values } = parseArgs({
  options: { cases: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' } },
});
const [cases, seed] = [Number(values.cases), Number(values.seed)];
const counts = await fuzzGateway({
  cases,
  seed,
  onCase: (done) => {
    if (done % 10_000 === 0) process.stderr.write(`${done} of ${cases} cases\n`);
  },
});
const statuses = Object.entries(counts).map(([status, count]) => `${status}: ${count}`);
console.log(`${cases} cases, seed ${seed}: ${statuses.join(', ')}; nothing was given that may not be`);
if (cases >= 100_000) {
  mkdirSync(join(root, 'docs/results'), { recursive: true });
  const report = { command: 'npm run evidence:fuzz-gateway', node: process.version, cases, seed, counts };
  writeFileSync(join(root, 'docs/results/fuzz-gateway.json'), `${JSON.stringify(report, null, 2)}\n`);
}
