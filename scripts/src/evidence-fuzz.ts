/**
 * Hostile input, 100,000 cases of each kind: `npm run evidence:fuzz`, with `--cases n` and `--seed n`. Raises at the first
 * that is accepted and should not be, or that fails with anything but a typed error. Writes docs/results/fuzz.json.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { fuzzTrust } from '@edge-dit/runtime/testing/fuzz-trust';
import { root } from './repository.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [cases, seed] = [Number(values.cases), Number(values.seed)];
const { manifest } = await loadManifest(new FsStore(join(root, 'runtime/fixtures/format-v1')), 'tiny');

/** What is fuzzed, by name. */
const kinds: Readonly<Record<string, () => Promise<object>>> = {
  'signed manifests': () => fuzzTrust(manifest, cases, seed),
};

const results: Record<string, object> = {};
for (const [name, run] of Object.entries(kinds)) {
  const started = performance.now();
  results[name] = await run();
  console.log(`${name}: ${JSON.stringify(results[name])}, ${((performance.now() - started) / 1000).toFixed(0)} s`);
}
const folder = join(root, 'docs/results');
mkdirSync(folder, { recursive: true });
const document = { command: 'npm run evidence:fuzz', node: process.version, seed, results };
writeFileSync(join(folder, 'fuzz.json'), `${JSON.stringify(document, null, 2)}\n`);
