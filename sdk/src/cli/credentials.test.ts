/** Keys of a store: who publishes has others than who reads, and nothing of them is ever shown. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { openStore, openWritableStore } from '../stores.ts';
import { type Finished, runCli } from './testing/run-cli.ts';
import { makeTinyPipeline } from './testing/tiny-pipeline.ts';

const endpoint = process.env.S3_ENDPOINT;
const skip =
  endpoint === undefined && 'no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints, and test again';
const root = await mkdtemp(join(tmpdir(), 'edge-dit-credentials-'));
after(() => rm(root, { recursive: true }));

const SECRETS = { secret: 'wrong-secret-0123456789', token: 'session-token-0123456789' };

function assertNoSecrets(...texts: string[]): void {
  const all = [...Object.values(SECRETS), process.env.AWS_SECRET_ACCESS_KEY ?? ''].filter((secret) => secret !== '');
  for (const text of texts) for (const secret of all) assert.ok(!text.includes(secret), text);
}

test('half a pair of keys is refused, by name', () => {
  for (const env of [{ S3_PUBLISH_ACCESS_KEY_ID: 'a' }, { S3_PUBLISH_SECRET_ACCESS_KEY: SECRETS.secret }]) {
    assert.throws(
      () => openWritableStore('s3://bucket', env),
      (error: Error) => {
        assertNoSecrets(inspect(error));
        return /S3_PUBLISH_ACCESS_KEY_ID and S3_PUBLISH_SECRET_ACCESS_KEY go together/.test(error.message);
      },
    );
    assert.equal(openStore('s3://bucket', env).name, 's3://bucket');
  }
});

test('publishing and reading take their own keys; no message or trace shows a secret', { skip }, async () => {
  const bucket = `credentials-${process.pid}-${Date.now()}`;
  const client = new S3Client({ endpoint, forcePathStyle: true, region: 'us-east-1' });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  await makeTinyPipeline(root, 'dit');
  const { AWS_ACCESS_KEY_ID: id = '', AWS_SECRET_ACCESS_KEY: secret = '' } = process.env;
  const publisher = { S3_PUBLISH_ACCESS_KEY_ID: id, S3_PUBLISH_SECRET_ACCESS_KEY: secret };
  const noReader = { AWS_SECRET_ACCESS_KEY: SECRETS.secret };
  const noPublisher = {
    S3_PUBLISH_ACCESS_KEY_ID: id,
    S3_PUBLISH_SECRET_ACCESS_KEY: SECRETS.secret,
    S3_PUBLISH_SESSION_TOKEN: SECRETS.token,
  };
  const run = (env: Record<string, string>, ...args: string[]): Promise<Finished> =>
    runCli(args, root, { ...env, EDGE_DIT_DEBUG: '1' });
  const quantize = ['quantize', 'dit', '--recipe', 'w4a8', '--out', `s3://${bucket}`, '--name', 'm'];
  const inspectIt = ['inspect', `s3://${bucket}#m`];

  const published = await run({ ...noReader, ...publisher }, ...quantize);
  assert.equal(published.code, 0, published.stderr);
  assert.equal((await run(noPublisher, ...inspectIt)).code, 0);
  for (const failed of [
    await run(noPublisher, ...quantize, '--license', 'x'),
    await run({ ...noReader, ...publisher }, ...inspectIt),
    await run({ AWS_SECRET_ACCESS_KEY: SECRETS.secret, AWS_SESSION_TOKEN: SECRETS.token }, ...inspectIt),
  ]) {
    assert.equal(failed.code, 3);
    assert.match(failed.stderr, /store-denied: s3:\/\/.*check the credentials and what they permit/);
    assertNoSecrets(failed.stdout, failed.stderr);
  }
});

test('the query and the headers of an address are not shown', async () => {
  const headers = { authorization: `Bearer ${SECRETS.token}` };
  assert.throws(
    () => new HttpStore(`http://user:${SECRETS.secret}@127.0.0.1:9/x`),
    (error: Error) => {
      assertNoSecrets(inspect(error));
      return /no user and password in an address/.test(error.message);
    },
  );
  const store = new HttpStore(`http://127.0.0.1:9/x?token=${SECRETS.secret}`, { headers });
  assertNoSecrets(store.name);
  await assert.rejects(store.get('shards/a'), (error: Error) => {
    assertNoSecrets(inspect(error, { depth: 9 }));
    return true;
  });
});
