/** The worker for Cloudflare as it is built: its size, and what it says when it is not configured. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ERROR_CODES, isEdgeDitError } from '@edge-dit/runtime/errors';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { Miniflare } from 'miniflare';
import { DEFAULT_LIMITS } from './limits.ts';
import { PROBLEMS } from './problem.ts';
import { bundleCloudflareWorker, serveWorkerd, WORKERD_COMPATIBILITY } from './serve-workerd.ts';

/**
 * Of all modules but onnxruntime's WebAssembly and the playground, which has a ceiling of its own and is loaded by who looks at
 * it. A quarter of it is onnxruntime's JavaScript.
 */
const GZIP_BYTES = 126_000;
const PLAYGROUND = 'built-page-';
const ORT_WASM = 'ort-wasm-simd-threaded.wasm';

const outdir = await mkdtemp(join(tmpdir(), 'edge-dit-worker-test-'));
after(() => rm(outdir, { recursive: true }));
const { modules } = await bundleCloudflareWorker(outdir);

test('the bundle is small', (t) => {
  const own = modules.filter(({ path }) => path !== ORT_WASM && !path.startsWith(PLAYGROUND));
  assert.equal(own.length, modules.length - 2);
  for (const { path, bytes, gzipBytes } of modules) t.diagnostic(`${path}: ${bytes} bytes, ${gzipBytes} gzip`);
  const total = own.reduce((sum, { gzipBytes }) => sum + gzipBytes, 0);
  t.diagnostic(`without ${ORT_WASM} and playground: ${total} bytes gzip`);
  assert.ok(total <= GZIP_BYTES, `${total} bytes; find what came in (esbuild's metafile), and leave it out`);
});

test('onnxruntime is apart: an isolate that has every embedding does not load its code', () => {
  const textOf = ({ contents }: { contents: Uint8Array }) => new TextDecoder().decode(contents);
  const main = textOf(modules[0]);
  const ort = modules.find(({ path }) => path.startsWith('ort.'));
  assert.ok(ort);
  assert.ok(main.includes(`import("./${ort.path}")`), 'the main module does not import onnxruntime at all');
  const middle = textOf(ort)
    .slice(ort.bytes >> 1)
    .slice(0, 200);
  assert.ok(!main.includes(middle), 'onnxruntime is in the main module');
  const imports = [...main.matchAll(/\b(?:from|import)"([^"]+)"/g)].map(([, path]) => path);
  // esbuild's own few lines, which both need, are the chunk.
  const own = imports.filter((path) => !path.startsWith('./chunk-'));
  assert.deepEqual(own.sort(), [
    './kernels.float.wasm',
    './kernels.relaxed.wasm',
    './kernels.simd.wasm',
    'cloudflare:workers',
  ]);
});

test('what is written to the folder is the whole worker', async () => {
  const files = modules.map(({ type, path }) => ({ type, path: join(outdir, path) }));
  const worker = new Miniflare({
    ...WORKERD_COMPATIBILITY,
    modules: files,
    modulesRoot: outdir,
    bindings: { SHARDS_URL: 'http://127.0.0.1:9/', MODELS: 'a' },
  });
  try {
    const response = await worker.dispatchFetch('http://worker/healthz');
    const work = { running: 0, waiting: 0, pictures: 0, steps: 0, memory_bytes: 0 };
    assert.deepEqual(await response.json(), { status: 'ok', models: [{ id: 'a', state: 'cold' }], work });
  } finally {
    await worker.dispose();
  }
});

const misconfigured: { name: string; bindings: Record<string, string>; detail: RegExp }[] = [
  { name: 'no store', bindings: { MODELS: 'a' }, detail: /R2 bucket as SHARDS, or set SHARDS_URL/ },
  { name: 'no model', bindings: { SHARDS_URL: 'https://x.invalid', MODELS: ' , ' }, detail: /at least one model/ },
  { name: 'no URL', bindings: { SHARDS_URL: 'x?token=secret', MODELS: 'a' }, detail: /http:\/\/ or https:\/\// },
  {
    name: 'no memory',
    bindings: { SHARDS_URL: 'https://x.invalid', MODELS: 'a', MEMORY_LIMIT_MB: 'much' },
    detail: /MEMORY_LIMIT_MB/,
  },
  {
    name: 'limits that are not JSON',
    bindings: { SHARDS_URL: 'https://x.invalid', MODELS: 'a', LIMITS: '{' },
    detail: /LIMITS is not JSON/,
  },
  {
    name: 'an unknown limit',
    bindings: { SHARDS_URL: 'https://x.invalid', MODELS: 'a', LIMITS: '{"step": 1}' },
    detail: /limits: step.*promptChars, steps/,
  },
];

for (const { name, bindings, detail } of misconfigured) {
  test(`a worker with ${name} says what to set`, async () => {
    const worker = new Miniflare({ ...WORKERD_COMPATIBILITY, modules: [...modules], modulesRoot: '.', bindings });
    try {
      const response = await worker.dispatchFetch('http://worker/healthz');
      assert.equal(response.status, 500);
      const problem = (await response.json()) as { type: string; detail: string };
      assert.equal(problem.type, 'urn:edge-dit:problem:invalid-argument');
      assert.match(problem.detail, detail);
      assert.doesNotMatch(problem.detail, /secret/);
    } finally {
      await worker.dispose();
    }
  });
}

test('one store, no more and no fewer', async () => {
  for (const places of [{}, { store: new MemoryStore(), shardsUrl: 'https://x.invalid' }]) {
    await assert.rejects(serveWorkerd({ ...places, models: ['a'] }), (error) =>
      isEdgeDitError(error, 'invalid-argument'),
    );
  }
});

test('limits reach the worker', async () => {
  const served = await serveWorkerd({ store: new MemoryStore(), models: ['a'], limits: { steps: 3 } });
  try {
    const response = await fetch(`${served.url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'x', steps: 4 }),
    });
    assert.match(await response.text(), /whole number from 1 to 3/);
  } finally {
    await served.close();
  }
});

test('every error has a status, and a limit for everything', () => {
  for (const code of Object.keys(ERROR_CODES)) assert.ok(Object.hasOwn(PROBLEMS, code), code);
  for (const { status, title } of Object.values(PROBLEMS)) assert.ok(status >= 400 && status < 600 && title.length > 0);
  assert.ok(Object.values(DEFAULT_LIMITS).every((limit) => limit > 0));
});
