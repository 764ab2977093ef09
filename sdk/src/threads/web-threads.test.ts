/** Threads in a real browser, where there is one: the bits of Node's one thread on an isolated page, an error elsewhere. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { listen } from '@edge-dit/functions/listen';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { putModel, randomModel } from '../testing/random-model.ts';
import type { WebThreadsReport } from './testing/web-threads-page.ts';

const chromium = process.env.CHROMIUM_PATH;
const skip = chromium === undefined ? 'no Chromium: set CHROMIUM_PATH to a chromium or chrome' : undefined;

const PATIENCE_MS = 60_000;

/** 256 tokens of the emoji model's width. */
const config = {
  _class_name: 'DiTTransformer2DModel',
  num_attention_heads: 6,
  attention_head_dim: 64,
  num_layers: 3,
  in_channels: 3,
  out_channels: 3,
  sample_size: 64,
  patch_size: 4,
  num_embeds_ada_norm: 10,
};

const root = new URL('../../../', import.meta.url);

/** A package's modules by the names under which others import them. */
async function modulesOf(name: string): Promise<[string, string][]> {
  const files = await readdir(new URL(`${name}/dist/`, root), { recursive: true });
  const modules = files.filter((file) => file.endsWith('.js') && !file.endsWith('.test.js'));
  return modules.map((file) => [`@edge-dit/${name}/${file.slice(0, -3)}`, `/${name}/dist/${file}`]);
}

const imports = {
  ...Object.fromEntries([...(await modulesOf('runtime')), ...(await modulesOf('wasm-kernels'))]),
  '@edge-dit/wasm-kernels': '/wasm-kernels/dist/index.js',
  'zod/mini': '/node_modules/zod/v4/mini/index.js',
  fflate: '/node_modules/fflate/esm/browser.js',
  '@huggingface/tokenizers': '/node_modules/@huggingface/tokenizers/dist/tokenizers.mjs',
};
const page = `<!doctype html><title>threads</title><script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module" src="/sdk/dist/threads/testing/web-threads-page.js"></script>`;
const isolation = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };

test('two threads of a browser give the bits of one; a page that is not isolated is told so', {
  skip,
}, async () => {
  const model = await randomModel({ model: 'm', seed: 1, architecture: config._class_name, config });
  const reports: (WebThreadsReport | { error: string })[] = [];
  let done = () => {};
  let late: NodeJS.Timeout | undefined;
  const reported = new Promise<void>((resolve, reject) => {
    done = resolve;
    late = setTimeout(() => reject(new Error(`${reports.length} of 2 reports in time`)), PATIENCE_MS);
  });
  const { url, close } = await listen(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/report') {
      const report = await request.json();
      if (reports.push(report) === 2 || 'error' in report) done();
      return new Response();
    }
    if (pathname === '/' || pathname === '/isolated') {
      const headers = { 'content-type': 'text/html', ...(pathname === '/isolated' && isolation) };
      return new Response(page, { headers });
    }
    const object = model.objects.get(pathname.slice(1));
    if (object !== undefined) return new Response(object as Uint8Array<ArrayBuffer>);
    if (!/\.m?js$/.test(pathname)) return new Response(null, { status: 404 });
    // Also what a worker loads must come with the page's policy.
    const headers = { 'content-type': 'text/javascript', 'cache-control': 'max-age=60', ...isolation };
    return new Response(await readFile(new URL(`.${pathname}`, root)), { headers });
  });
  const profile = await mkdtemp(join(tmpdir(), 'edge-dit-web-threads-'));
  const flags = ['--headless=new', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage'];
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = spawn(chromium!, [...flags, ...sandbox, `--user-data-dir=${profile}`, url], { stdio: 'ignore' });
  try {
    await reported;
    const store = new MemoryStore();
    await putModel(store, model);
    const pipeline = await Pipeline.open({ store, model: 'm', kernels: await compileKernels() });
    const one = Array.from((await pipeline.generate({ class: 1, seed: 5, steps: 2 })).rgb);
    assert.ok(new Set(one).size > 100, 'the picture is one colour');
    const [plain, isolated] = reports as WebThreadsReport[];
    assert.deepEqual(plain, {
      isolated: false,
      one,
      two: {
        code: 'engine-unavailable',
        message: 'this host does not share memory among threads; a page needs COOP and COEP headers. Use one thread.',
      },
    });
    assert.deepEqual(isolated, { isolated: true, one, two: one, worker: true });
  } finally {
    clearTimeout(late);
    browser.kill();
    await once(browser, 'exit');
    await close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
});
