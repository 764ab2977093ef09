import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { OnnxTextEncoder } from '@edge-dit/runtime/text/onnx-text-encoder';
import { loadTokenizer } from '@edge-dit/runtime/text/tokenizer';
import { Miniflare } from 'miniflare';
import { bundleWorker } from './bundle-worker.ts';

const model = new URL('../../examples/emoji/model/', import.meta.url);
const scratch = await mkdtemp(join(tmpdir(), 'edge-dit-bundle-'));
after(() => rm(scratch, { recursive: true }));

/** An empty WebAssembly module. */
const EMPTY_WASM = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

test('modules: the main one first, dynamic imports apart, WebAssembly by name', async () => {
  const folder = await mkdtemp(join(scratch, 'modules-'));
  await writeFile(join(folder, 'add.wasm'), EMPTY_WASM);
  await writeFile(join(folder, 'lazy.js'), 'export const lazy = "lazy-text";');
  await writeFile(
    join(folder, 'entry.ts'),
    `import add from './add.wasm';
     const lazy: Promise<{ lazy: string }> = import('./lazy.js');
     export default { async fetch() { return new Response((await lazy).lazy + (add instanceof WebAssembly.Module)); } };`,
  );
  const { modules } = await bundleWorker({ entry: join(folder, 'entry.ts'), outdir: join(folder, 'out') });
  assert.equal(modules[0].path, 'worker.js');
  assert.deepEqual(
    modules.map(({ type }) => type),
    ['ESModule', 'ESModule', 'CompiledWasm'],
  );
  const texts = modules.map(({ contents }) => new TextDecoder().decode(contents));
  assert.ok(!texts[0].includes('lazy-text') && texts[1].includes('lazy-text'));
  assert.deepEqual(modules[2].contents, EMPTY_WASM);
  assert.ok(modules.every(({ bytes, contents, gzipBytes }) => bytes === contents.length && gzipBytes > 0));

  const worker = new Miniflare({ modules: [...modules], modulesRoot: '.', compatibilityDate: '2026-04-01' });
  try {
    assert.equal(await (await worker.dispatchFetch('http://worker/')).text(), 'lazy-texttrue');
  } finally {
    await worker.dispose();
  }
});

test('what cannot be bundled is said', async () => {
  const entry = join(scratch, 'broken.ts');
  await writeFile(entry, "import './missing.wasm';");
  await assert.rejects(bundleWorker({ entry, outdir: join(scratch, 'broken') }), (error) => {
    assert.ok(isEdgeDitError(error, 'invalid-argument') && error.message.includes('missing.wasm'), String(error));
    return true;
  });
});

test('the text encoder runs in workerd, from R2, and gives the bytes of Node', async () => {
  const entry = fileURLToPath(new URL('testing/onnx-worker.js', import.meta.url));
  const { modules } = await bundleWorker({ entry, outdir: join(scratch, 'onnx') });
  const main = modules[0];
  assert.ok(main.gzipBytes < 64_000, `main module: ${main.gzipBytes} bytes gzip`);
  assert.ok(modules.some(({ path }) => path === 'ort-wasm-simd-threaded.wasm'));

  const [tokenizerJson, encoderBytes] = await Promise.all([
    readFile(new URL('tokenizer/tokenizer.json', model)),
    readFile(new URL('text_encoder/model.onnx', model)),
  ]);
  const node = new OnnxTextEncoder({
    runtime: createNodeOrtRuntime(),
    loadModel: async () => encoderBytes,
    loadTokenizer: async () => loadTokenizer(JSON.parse(tokenizerJson.toString())),
  });
  const prompts = ['red apple, fluent 3d style', ''];
  const expected = await node.encode(prompts);

  const worker = new Miniflare({
    modules: [...modules],
    modulesRoot: '.',
    compatibilityDate: '2026-04-01',
    compatibilityFlags: ['nodejs_compat'],
    r2Buckets: ['MODELS'],
  });
  try {
    const bucket = await worker.getR2Bucket('MODELS');
    await bucket.put('tokenizer.json', tokenizerJson.toString());
    await bucket.put('text-encoder.onnx', new Uint8Array(encoderBytes));
    const url = `http://worker/?${new URLSearchParams(prompts.map((prompt) => ['prompt', prompt]))}`;
    for (let i = 0; i < 2; i++) {
      const response = await worker.dispatchFetch(url);
      assert.equal(response.status, 200, response.ok ? '' : await response.clone().text());
      assert.deepEqual(new Float32Array(await response.arrayBuffer()), expected.data);
      const held = new Map<string, number>(JSON.parse(response.headers.get('x-held')!));
      const engineBytes = held.get('onnxruntime memory')!;
      assert.ok(engineBytes > 40 * 2 ** 20 && engineBytes < 64 * 2 ** 20, `onnxruntime holds ${engineBytes} bytes`);
    }
  } finally {
    await worker.dispose();
  }
});
