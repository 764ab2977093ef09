/** A few rounds of `npm run evidence:publish`, over a folder, and over S3 where a server is given. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { openWritableStore } from '@edge-dit/sdk/stores';
import { VersionedModels } from '@edge-dit/sdk/testing/versioned-models';
import { generateKeyPem, openSigningKey } from '@edge-dit/sdk/trust/signing-key';
import { randomOf } from '../random.ts';
import { killRounds } from './kill-rounds.ts';
import { raceRounds } from './race-rounds.ts';

const endpoint = process.env.S3_ENDPOINT;
const skipS3 =
  endpoint === undefined
    ? 'no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints, and test again'
    : undefined;
const folder = await mkdtemp(join(tmpdir(), 'edge-dit-publishing-'));
after(() => rm(folder, { recursive: true }));

const modelsPlace = join(folder, 'models');
const models = await VersionedModels.make(openWritableStore(modelsPlace));
const pem = await generateKeyPem();
const key = await openSigningKey(pem, 'the key');
const trust = { keys: [key.publicKey] };

async function bucket(): Promise<string> {
  const name = `publishing-${process.pid}-${Date.now()}`;
  const client = new S3Client({ endpoint, forcePathStyle: true, region: 'us-east-1' });
  await client.send(new CreateBucketCommand({ Bucket: name }));
  client.destroy();
  return `s3://${name}`;
}

const stores: { name: string; open: () => Promise<string>; skip?: string }[] = [
  { name: 'folder', open: async () => folder },
  { name: 's3', open: bucket, skip: skipS3 },
];

for (const { name, open, skip } of stores) {
  describe(`publishing to ${name}`, { skip, timeout: 120_000 }, () => {
    let place: string;

    test('processes that are killed leave every model whole, and the next publish and prune put all in order', async (t) => {
      place = await open();
      const seed = Math.floor(Math.random() * 2 ** 31);
      t.diagnostic(`seed ${seed}`);
      const kills = `${place}/kills`;
      const results = await killRounds({
        store: openWritableStore(kills),
        place: kills,
        models,
        modelsPlace,
        pem,
        sign: { key },
        trust,
        rounds: 5,
        random: randomOf(seed),
      });
      assert.equal(results.rounds, 5);
      assert.ok(results.resumeFoundBytes > 0);
    });

    test('of processes that publish one name at once, one wins, and no winner is lost', async () => {
      const races = `${place}/races`;
      const store = openWritableStore(races);
      const results = await raceRounds({ store, place: races, modelsPlace, pem, trust, publishers: 3, rounds: 2 });
      assert.deepEqual(results.winnersHeld, [1]);
    });
  });
}
