/** A checkpoint to a real S3 server, a picture from it, and nothing sent when it is published again. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { startCli } from './testing/run-cli.ts';

const endpoint = process.env.S3_ENDPOINT;
const skip =
  endpoint === undefined && 'no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints, and test again';
const model = fileURLToPath(new URL('../../../examples/emoji/model', import.meta.url));

it('quantize to S3, generate and verify from it, quantize again', { skip }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-s3-'));
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await startCli([...args, '--json'], folder).finished;
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const bucket = `round-trip-${process.pid}-${Date.now()}`;
  const client = new S3Client({ endpoint, forcePathStyle: true, region: process.env.AWS_REGION ?? 'us-east-1' });
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    const out = `s3://${bucket}/models`;
    const publish = () => run('quantize', model, '--recipe', 'w4a8', '--out', out, '--name', 'emoji');
    const [first, second] = [await publish(), await publish()];
    assert.ok(first.sent.objects > 4 && first.sent.bytes > 12_000_000);
    assert.equal(first.pointer, 'created');
    assert.deepEqual(second.sent, { objects: 0, bytes: 0 });
    assert.equal(second.pointer, 'unchanged');
    assert.equal(second.digest, first.digest);

    await run('verify', `${out}#emoji`);
    const local = await run('quantize', model, '--recipe', 'w4a8', '--out', './models', '--name', 'emoji');
    assert.equal(local.digest, first.digest);
    const request = ['--prompt', 'red apple, noto style', '--seed', '3', '--steps', '2'];
    await run('generate', '--model', `${out}#emoji`, ...request, '--out', 'from-s3.png');
    await run('generate', '--model', './models#emoji', ...request, '--out', 'from-folder.png');
    assert.deepEqual(await readFile(join(folder, 'from-s3.png')), await readFile(join(folder, 'from-folder.png')));
  } finally {
    client.destroy();
    await rm(folder, { recursive: true, force: true });
  }
});
