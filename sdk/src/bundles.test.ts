/** Every place to deploy to: its bundle is made as `edge-dit bundle` makes it, runs where it is meant to, and draws. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { bundleEndpoint } from '@edge-dit/functions/bundles/bundle-endpoint';
import { bundleTargets } from '@edge-dit/functions/bundles/index';
import type { Served } from '@edge-dit/functions/listen';
import { serveStore } from '@edge-dit/functions/store-server';
import { bundleRuns } from '@edge-dit/functions/testing/run-bundle';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { encodePng } from '@edge-dit/runtime/picture';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { documentOf, refused, runCli } from './cli/testing/run-cli.ts';
import { publishEmoji } from './testing/emoji-store.ts';
import { generate, postGenerate } from './testing/endpoint-client.ts';

const APPLE = { prompt: 'red apple, fluent 3d style', seed: 1, steps: 1 };

const scratch = await mkdtemp(join(tmpdir(), 'edge-dit-bundles-'));
const emoji = await publishEmoji('w4a8');
const published = await serveStore(emoji.store);
after(async () => {
  await published.close();
  await emoji.remove();
  await rm(scratch, { recursive: true });
});

const pipeline = await Pipeline.open({
  store: emoji.store,
  model: 'emoji',
  kernels: await compileKernels(),
  onnx: createNodeOrtRuntime,
});
const expected = encodePng(await pipeline.generate(APPLE));
await pipeline.close();

const endpoint = process.env.S3_ENDPOINT;
const noS3 = endpoint === undefined ? 'no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints' : undefined;

let inBucket: Promise<string> | undefined;
/** As the guides say: by `publish`, once. */
const publishedToS3 = () =>
  (inBucket ??= (async () => {
    const bucket = `bundles-${process.pid}-${Date.now()}`;
    const client = new S3Client({ endpoint, forcePathStyle: true, region: process.env.AWS_REGION ?? 'us-east-1' });
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    client.destroy();
    const place = `s3://${bucket}/models`;
    const { code, stderr } = await runCli(['publish', `${emoji.folder}/emoji`, '--to', place], scratch);
    assert.equal(code, 0, stderr);
    return place;
  })());

interface Report {
  readonly ok: boolean;
  readonly bytes: number;
  readonly gzipBytes: number;
  readonly modules: readonly { path: string; bytes: number; gzipBytes: number; parts: { source: string }[] }[];
}

for (const target of bundleTargets) {
  describe(`bundle for ${target.name}`, () => {
    const folder = join(scratch, target.name);

    test('is a folder of its modules, and says what they weigh and are made of', async () => {
      const { ok, bytes, modules } = documentOf<Report>(
        await runCli(['bundle', '--target', target.name, '--out', folder, '--json'], scratch),
      );
      assert.ok(ok);
      const files = await readdir(folder);
      assert.deepEqual(files.sort(), ['bundle.json', ...modules.map(({ path }) => path)].sort());
      let sum = 0;
      for (const { path, bytes: size, gzipBytes } of modules) {
        assert.equal((await readFile(join(folder, path))).length, size, path);
        assert.ok(gzipBytes < size, path);
        sum += size;
      }
      assert.equal(bytes, sum);
      const sources = modules[0].parts.map(({ source }) => source);
      assert.ok(sources.includes('hono') && sources.some((source) => source.includes('runtime/dist/pipeline')));
    });

    for (const { title, skip, start } of bundleRuns.filter((run) => run.target === target.name)) {
      test(`runs: ${title}`, { skip }, async () => {
        // A folder for those that have files; the name is the one of the variable everywhere.
        const place = target.host === 'isolate' ? published.url : emoji.folder;
        const served: Served = await start(folder, { MODELS: 'emoji', SHARDS_URL: place, LIMITS: '{"steps": 5}' });
        try {
          const health = await fetch(`${served.url}/healthz`);
          assert.match(await health.text(), /"state":"cold"/);
          assert.deepEqual((await generate(served.url, APPLE)).png, expected);
          const refusal = await postGenerate(served.url, JSON.stringify({ ...APPLE, steps: 6 }));
          assert.equal(refusal.status, 422);
          assert.match((await refusal.json()).detail, /whole number from 1 to 5/);
          assert.equal((await fetch(`${served.url}/nothing?here=1`)).status, 404);
        } finally {
          await served.close();
        }
      });

      if (target.host === 'isolate') continue;
      test(`runs over S3: ${title}`, { skip: skip ?? noS3 }, async () => {
        const place = await publishedToS3();
        const ofStore = Object.entries(process.env).filter(([name]) => /^(S3|AWS)_/.test(name));
        const served = await start(folder, { ...Object.fromEntries(ofStore), MODELS: 'emoji', SHARDS_URL: place });
        try {
          assert.deepEqual((await generate(served.url, APPLE)).png, expected);
        } finally {
          await served.close();
        }
      });
    }
  });
}

test('every place has a way to run it', () => {
  for (const { name } of bundleTargets) assert.ok(bundleRuns.some(({ target }) => target === name));
});

test('a bundle above its ceiling is exit code 1, and says what is largest', async () => {
  const args = ['bundle', '--target', 'cloudflare-workers', '--out', 'small', '--max-gzip', '1MB', '--no-minify'];
  const { code, stdout } = await runCli(args, scratch);
  assert.equal(code, 1);
  assert.match(
    stdout,
    /TOO LARGE: 3\.\d MiB gzipped, 976\.6 KiB at most: the largest are ort-wasm-simd-threaded\.wasm \(3/,
  );
  const json = await runCli([...args, '--json'], scratch);
  assert.equal(json.code, 1);
  assert.equal(JSON.parse(json.stdout).ok, false);
});

test('a folder with other things in it is left alone', async () => {
  const file = join(scratch, 'mine.js');
  await writeFile(file, 'mine');
  refused(await runCli(['bundle', '--target', 'node', '--out', '.'], scratch), 2, /holds other things than a bundle/);
  assert.equal(await readFile(file, 'utf8'), 'mine');
  refused(await runCli(['bundle', '--target', 'nod', '--out', 'x'], scratch), 2, /did you mean "node"\?/);
});

test('variables of the bundle are defaults, which those of the place come before', async () => {
  const [, node] = bundleTargets;
  const outdir = join(scratch, 'configured');
  const variables = { MODELS: 'emoji', SHARDS_URL: emoji.folder, LIMITS: '{"steps": 7}' };
  await bundleEndpoint({ target: node, outdir, variables, minify: false });
  const { start } = bundleRuns.find(({ target }) => target === node.name)!;
  for (const [env, most] of [
    [{}, 7],
    [{ LIMITS: '{"steps": 9}' }, 9],
  ] as const) {
    const served = await start(outdir, env);
    try {
      const refusal = await postGenerate(served.url, JSON.stringify({ ...APPLE, steps: 10 }));
      assert.match(await refusal.text(), new RegExp(`whole number from 1 to ${most}"`));
    } finally {
      await served.close();
    }
  }
});
