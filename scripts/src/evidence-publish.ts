/**
 * That publishing survives: processes killed with `kill -9` at random instants, and several at once on one name, against a
 * real S3 server (S3_ENDPOINT). Writes docs/results/publish.json. `--rounds n`, `--races n`, `--seed n`.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { openWritableStore } from '@edge-dit/sdk/stores';
import { VersionedModels } from '@edge-dit/sdk/testing/versioned-models';
import { generateKeyPem, openSigningKey } from '@edge-dit/sdk/trust/signing-key';
import { killRounds } from './publishing/kill-rounds.ts';
import { raceRounds } from './publishing/race-rounds.ts';
import { randomOf } from './random.ts';
import { root } from './repository.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    races: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const endpoint = process.env.S3_ENDPOINT;
if (endpoint === undefined) {
  console.error('no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints, and run this again');
  process.exit(2);
}
const seed = Number(values.seed);
console.log(`seed ${seed}`);
const client = new S3Client({ endpoint, forcePathStyle: true, region: process.env.AWS_REGION ?? 'us-east-1' });
const bucket = `evidence-publish-${process.pid}-${Date.now()}`;
await client.send(new CreateBucketCommand({ Bucket: bucket }));

const pem = await generateKeyPem();
const key = await openSigningKey(pem, 'the key');
const modelsPlace = mkdtempSync(join(tmpdir(), 'edge-dit-synthetic-'));
const models = await VersionedModels.make(openWritableStore(modelsPlace));
const placeOf = (name: string) => ({
  place: `s3://${bucket}/${name}`,
  store: openWritableStore(`s3://${bucket}/${name}`),
});
const shared = { modelsPlace, pem, trust: { keys: [key.publicKey] } };
const progress = (title: string, total: string) => (done: number) =>
  process.stderr.write(`\r${title} ${done} of ${total}${done === Number(total) ? '\n' : ''}`);

const started = performance.now();
const kills = await killRounds({
  ...shared,
  ...placeOf('kills'),
  models,
  sign: { key },
  rounds: Number(values.rounds),
  random: randomOf(seed),
  onRound: progress('killed publishes', values.rounds),
});
const races = await raceRounds({
  ...shared,
  ...placeOf('races'),
  publishers: 8,
  rounds: Number(values.races),
  onRound: progress('races', values.races),
});
client.destroy();
rmSync(modelsPlace, { recursive: true });

const results = {
  command: 'npm run evidence:publish',
  node: process.version,
  server: serverVersion(),
  seed,
  seconds: Math.round((performance.now() - started) / 1000),
  kills,
  races,
};
const folder = join(root, 'docs/results');
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, 'publish.json'), `${JSON.stringify(results, null, 2)}\n`);
console.log(
  `${kills.rounds} rounds, ${kills.killed} killed before their end: every pointer whole, every next publish complete, no orphan after prune`,
);
console.log(
  `${races.rounds} races of ${races.publishers}: one winner a round where all had read the same pointer, none lost`,
);

/** Of the RADOS Gateway of scripts/s3-ceph.sh; another server does not say. */
function serverVersion(): string {
  try {
    return execFileSync('radosgw', ['--version'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}
