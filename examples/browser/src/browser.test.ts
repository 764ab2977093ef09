/** The page in a real Chromium, with a model that is real: loaded through a network that breaks, kept, drawn with, without a server. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Served } from '@edge-dit/functions/listen';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { encodePng } from '@edge-dit/runtime/picture';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { type EmojiStore, publishEmoji } from '@edge-dit/sdk/testing/emoji-store';
import { putModel, randomModel } from '@edge-dit/sdk/testing/random-model';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import type { Page } from 'playwright-core';
import { bundlePage, type PageFiles, scriptBytes } from './bundle-page.ts';
import { servePage } from './page-server.ts';
import { type CutProxy, cutProxy } from './testing/cut-proxy.ts';
import {
  choose,
  draw,
  finished,
  NO_CHROMIUM,
  type OpenedChromium,
  openChromium,
  openPage,
} from './testing/open-chromium.ts';
import { psnr } from './testing/psnr.ts';

const SCRIPT_BYTES = 120_000;
const MIB = 2 ** 20;

const files: PageFiles = await bundlePage();

test('what a visitor loads is at most 120 KB of scripts, with both engines and without onnxruntime', (t) => {
  for (const [path, { gzipBytes, optional }] of files) {
    if (path.endsWith('.js'))
      t.diagnostic(`${path}: ${gzipBytes} bytes gzip${optional ? ', only for prompts on the device' : ''}`);
  }
  const bytes = scriptBytes(files);
  t.diagnostic(`together ${bytes} bytes gzip`);
  assert.ok(bytes <= SCRIPT_BYTES, `${bytes} bytes; find what came in (esbuild's metafile), and leave it out`);
  const textOf = (path: string) => new TextDecoder().decode(files.get(path)!.body);
  const needed = [...files]
    .filter(([path, { optional }]) => path.endsWith('.js') && !optional)
    .map(([path]) => textOf(path));
  assert.ok(!needed.some((text) => text.includes('ort-wasm-simd-threaded.mjs')), 'onnxruntime is in it');
  assert.ok(
    needed.some((text) => text.includes('wasm-relaxed')) && needed.some((text) => text.includes('requestAdapter')),
  );
});

describe('the page in Chromium', { skip: NO_CHROMIUM, timeout: 300_000 }, () => {
  let emoji: EmojiStore;
  let served: Served;
  let proxy: CutProxy;
  let profile: string;
  let browser: OpenedChromium;
  let page: Page;
  let modelBytes: number;
  const errors: string[] = [];
  const request = { prompt: 'red apple, fluent 3d style', seed: 1, steps: 2 };

  before(async () => {
    emoji = await publishEmoji('w4a8');
    modelBytes = emoji.manifest.shards.reduce((sum, { length }) => sum + length, 0);
    served = await servePage({ store: emoji.store, model: 'emoji', files });
    proxy = await cutProxy(served.url, 2);
    profile = await mkdtemp(join(tmpdir(), 'edge-dit-browser-'));
    browser = await openChromium(profile);
    page = await openPage(browser.context, proxy.url, errors);
  });
  after(async () => {
    await browser?.close();
    await proxy?.close();
    await served?.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    await emoji?.remove();
  });

  test('a download that the network breaks off goes on after a reload, with at most a tenth read again', async (t) => {
    await choose(page, 'policy', 'device');
    await choose(page, 'engine', 'wasm-simd');
    proxy.cutAfter(modelBytes / 2);
    const broken = await draw(page, request);
    assert.match(broken.problem, /shards\/[0-9a-f]{64}|GET/);
    // Another visit: nothing is remembered but what is in files.
    await page.close();
    proxy.mend();
    page = await openPage(browser.context, proxy.url, errors);
    const { said, problem, png } = await draw(page, request);
    assert.equal(problem, '');
    assert.match(said, /^Made on this device .* with wasm-simd/);
    const again = proxy.shardBytes() / modelBytes - 1;
    t.diagnostic(`${(100 * again).toFixed(1)}% of ${modelBytes} bytes were read again`);
    assert.ok(again <= 0.1, `${again}`);
    const pipeline = await Pipeline.open({
      store: emoji.store,
      model: 'emoji',
      kernels: await compileKernels(),
      onnx: createNodeOrtRuntime,
    });
    assert.deepEqual(png, encodePng(await pipeline.generate(request)), 'the picture is not that of Node');
  });

  test('the engine is chosen by a probe, and the page says which and why', async (t) => {
    await choose(page, 'engine', 'auto');
    const { said } = await draw(page, { ...request, seed: 2 });
    const notes = await page.locator('#notes li').allTextContents();
    t.diagnostic(notes.join('; '));
    const chosen = /with ([\w-]+)/.exec(said)?.[1];
    assert.ok(
      notes.some((note) => note === `${chosen}: the fastest`),
      `${said} ${notes}`,
    );
    assert.ok(notes.filter((note) => /: \d+\.\d ms in the probe$/.test(note)).length >= 2, String(notes));
    assert.ok(
      notes.includes('2 threads') ===
        (await page.evaluate(() => crossOriginIsolated && navigator.hardwareConcurrency === 2)),
    );
  });

  test('a GPU draws what the kernels draw, and when its device is lost again and again they go on', async (t) => {
    const random = await randomModel({ model: 'random', seed: 1 });
    const store = new MemoryStore();
    await putModel(store, random);
    const driverFile = fileURLToPath(new URL('testing/driver.js', import.meta.url));
    const other = await servePage({ store, model: 'random', files: await bundlePage({ driver: driverFile }) });
    const tab = await openPage(browser.context, other.url, errors);
    try {
      await tab.addScriptTag({ url: '/driver.js', type: 'module' });
      await tab.waitForFunction(() => 'driver' in globalThis);
      const drawLosing = (engines: string[], losses: number[]) =>
        tab.evaluate(([names, after]) => driver.drawLosing('random', names, 6, after), [engines, losses] as const);
      const whole = await drawLosing(['wasm-simd'], []);
      const twice = await drawLosing(['webgpu', 'wasm-simd'], [2, 4]);
      assert.deepEqual([twice.destroyed, twice.engine], [2, 'wasm-simd']);
      assert.match(twice.notes[0], /^webgpu: its device was lost after step 4/);
      assert.deepEqual(twice.steps, [1, 2, 3, 4, 5, 6]);
      const decibels = psnr(twice.rgb, whole.rgb);
      t.diagnostic(`against wasm alone: PSNR ${decibels.toFixed(1)} dB`);
      assert.ok(decibels >= 45, `${decibels} dB`);
      assert.equal(twice.heldBytes, 0);
      assert.ok(new Set(whole.rgb).size > 50, 'the picture is one colour');
    } finally {
      await tab.close();
      await other.close();
    }
  });

  test('cancel stops a generation, and the page draws again', async () => {
    await page.fill('#steps', '100');
    await page.click('#draw:not([disabled])');
    await page.waitForFunction(() => document.getElementById('say')?.textContent?.startsWith('Step'));
    await page.click('#cancel');
    assert.equal((await finished(page)).said, 'Cancelled.');
    const held = /holds .* MB/.exec((await draw(page, request)).said)?.[0];
    assert.ok(held);
    assert.ok(
      (await draw(page, { ...request, seed: 2 })).said.includes(held),
      'the second picture left something behind',
    );
  });

  test('without a server the page opens and draws as before; a new prompt needs the endpoint, and it says so', async () => {
    await page.close();
    await proxy.close();
    await served.close();
    page = await openPage(browser.context, proxy.url, errors);
    await finished(page);
    const { said, png } = await draw(page, request);
    assert.match(said, /^Made on this device/);
    assert.ok(png !== undefined && png.length > 1000);
    const other = await draw(page, { ...request, prompt: 'blue car' });
    assert.match(other.problem, /embedding a prompt at .*is the endpoint there/);
    assert.deepEqual(errors, []);
  });

  test('where the browser has no room, the error says how much is needed', async () => {
    served = await servePage({ store: emoji.store, model: 'emoji', files });
    const fresh = await openPage(browser.context, served.url, errors);
    const devtools = await browser.context.newCDPSession(fresh);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: served.url, quotaSize: 8 * MIB });
    await choose(fresh, 'policy', 'device');
    const { problem } = await draw(fresh, request);
    assert.match(problem, /storing emoji needs 1\d\.\d MB, and this browser has no room for so much: /);
    assert.ok(await fresh.isVisible('#make-room'));
    await fresh.close();
  });

  test('where this device fails, the endpoint draws, and the page says why', async () => {
    const fresh = await openPage(browser.context, served.url, errors);
    const devtools = await browser.context.newCDPSession(fresh);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: served.url, quotaSize: 8 * MIB });
    await choose(fresh, 'policy', 'device-first');
    const first = await draw(fresh, request);
    assert.match(first.said, /^Made on the endpoint in .* Not made on this device: storing emoji needs/);
    await choose(fresh, 'policy', 'endpoint-first');
    assert.match((await draw(fresh, request)).said, /^Made on the endpoint/);
    await fresh.close();
  });
});
