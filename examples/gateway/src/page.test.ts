/** The example's server, and its pipeline in a real browser where there is one: the picture is that of Node, to the byte. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { Store } from '@edge-dit/runtime/stores/store';
import { putModel, randomModel } from '@edge-dit/sdk/testing/random-model';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { servePage } from './page-server.ts';

const chromium = process.env.CHROMIUM_PATH;
const skip = chromium === undefined ? 'no Chromium: set CHROMIUM_PATH to a chromium or chrome' : undefined;

const model = await randomModel({ model: 'm', seed: 1 });
const memory = new MemoryStore();
await putModel(memory, model);

test('the server has the page, what it needs, and the model', async () => {
  const { url, close } = await servePage({ store: memory, model: 'm', last: 'https://bucket.example/models' });
  try {
    const page = await (await fetch(url)).text();
    assert.match(page, /<script type="module" src="\/worker.js">/);
    for (const path of [
      '/worker.js',
      '/kernels.float.wasm',
      '/kernels.simd.wasm',
      '/onnxruntime.wasm',
      '/models/m/manifest',
    ]) {
      const response = await fetch(url + path);
      assert.equal(response.status, 200, path);
      await response.arrayBuffer();
    }
    assert.deepEqual(await (await fetch(`${url}/page.json`)).json(), {
      model: 'm',
      last: 'https://bucket.example/models',
    });
  } finally {
    await close();
  }
});

interface Report {
  readonly error?: string;
  readonly first: { readonly digest: string; readonly rgb: number[] };
  readonly second: { readonly digest: string; readonly rgb: number[] };
  readonly names: string[];
}

test('a browser loads the model from the gateway, draws, and loads it again from its own files', {
  skip,
  timeout: 120_000,
}, async () => {
  const asked: string[] = [];
  const store: Store = {
    name: 'memory',
    get: (key, options) => {
      asked.push(key);
      return memory.get(key, options);
    },
  };
  const profile = await mkdtemp(join(tmpdir(), 'edge-dit-page-'));
  const { url, close } = await servePage({
    store,
    model: 'm',
    entry: new URL('testing/report-page.js', import.meta.url),
  });
  const requests: string[] = [];
  const { address, reported, end } = await withReport(url, requests);
  const flags = [
    '--headless=new',
    '--disable-gpu',
    '--no-first-run',
    '--disable-dev-shm-usage',
    `--user-data-dir=${profile}`,
  ];
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = spawn(chromium!, [...flags, ...sandbox, address], { stdio: 'ignore' });
  try {
    const report = await reported;
    assert.equal(report.error, undefined);
    const pipeline = await Pipeline.open({ store: memory, model: 'm', kernels: await compileKernels() });
    const row = {
      count: 1,
      tokens: 8,
      channels: 32,
      data: new Float32Array(8 * 32).fill(0.5),
      mask: new Int32Array(8).fill(1),
    };
    const { rgb } = await pipeline.generate({ embedding: { prompt: row, negative: row }, seed: 5, steps: 2 });
    assert.deepEqual(Uint8Array.from(report.first.rgb), rgb);
    assert.deepEqual(report.second, report.first);
    const shards = model.manifest.shards.map(({ sha256 }) => `shards/${sha256}`);
    assert.deepEqual(report.names.sort(), shards.map((key) => key.replace('/', '~')).sort());
    // Each shard came over the network once, and never from the store twice.
    for (const key of shards) {
      assert.equal(requests.filter((path) => path === `/${key}`).length, 1, key);
      assert.equal(asked.filter((other) => other === key).length, 1);
    }
  } finally {
    browser.kill();
    await once(browser, 'exit');
    await end();
    await close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
});

/** The server behind one that notes paths and takes the report. */
async function withReport(upstream: string, requests: string[]) {
  let resolve!: (report: Report) => void;
  const reported = new Promise<Report>((done) => {
    resolve = done;
  });
  const server = createServer(async (request, response) => {
    requests.push(request.url ?? '');
    if (request.url === '/report') {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      resolve(JSON.parse(Buffer.concat(chunks).toString()));
      return void response.end();
    }
    const { range } = request.headers;
    const answer = await fetch(upstream + request.url, { headers: range === undefined ? {} : { range } });
    const type = answer.headers.get('content-type');
    response.writeHead(answer.status, type === null ? {} : { 'content-type': type });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const end = () =>
    new Promise<void>((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, reported, end };
}
