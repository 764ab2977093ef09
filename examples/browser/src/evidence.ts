/**
 * Measures the page in a real Chromium and writes docs/results/browser.json: bytes of scripts, downloads that break off, use
 * without a server, split execution, memory, the runtime's tests of its engines in the page, and the emoji model on WebGPU.
 * Takes --parts, names separated by commas; parts that are not run keep their last results.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { serveWorkerd } from '@edge-dit/functions/serve-workerd';
import { publishEmoji } from '@edge-dit/sdk/testing/emoji-store';
import { decode } from 'fast-png';
import type { Page } from 'playwright-core';
import { bundlePage, type PageFile, scriptBytes } from './bundle-page.ts';
import { servePage } from './page-server.ts';
import { bundlePageTests } from './testing/bundle-page-tests.ts';
import { type CutProxy, cutProxy } from './testing/cut-proxy.ts';
import { CHROMIUM, choose, draw, NO_CHROMIUM, openChromium, openPage } from './testing/open-chromium.ts';
import { psnr } from './testing/psnr.ts';

const PARTS = ['scripts', 'resume', 'offline', 'split', 'memory', 'conformance', 'gpu'] as const;
type Part = (typeof PARTS)[number];

const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: PARTS.join(',') },
    rounds: { type: 'string', default: '10' },
    'gpu-steps': { type: 'string', default: '20' },
    recipe: { type: 'string', default: 'w4a8' },
    pictures: { type: 'string' },
  },
});
const wanted = values.parts.split(',') as Part[];
if (NO_CHROMIUM !== undefined || wanted.some((part) => !PARTS.includes(part))) {
  console.error(NO_CHROMIUM ?? `parts are ${PARTS.join(', ')}`);
  process.exit(2);
}
const RESULTS = fileURLToPath(new URL('../../../docs/results/browser.json', import.meta.url));
const USUAL_STEPS = 20;
/** Few steps: what is measured here does not depend on them, but for the picture of the GPU. */
const request = { prompt: 'red apple, fluent 3d style', seed: 1, steps: 4 };

const files = await bundlePage();
const emoji = await publishEmoji(values.recipe);
const modelBytes = emoji.manifest.shards.reduce((sum, { length }) => sum + length, 0);
const failures: string[] = [];
const errors: string[] = [];
const expect = (holds: boolean, what: string) => {
  if (!holds) failures.push(what);
};
const progress = (text: string) => process.stderr.write(`${text}\n`);

/** A browser that knows nothing, a server, and a network between them. */
async function fresh<T>(
  work: (tools: Tools) => Promise<T>,
  { delayMs = 0, more = [] }: { readonly delayMs?: number; readonly more?: readonly [string, PageFile][] } = {},
): Promise<T> {
  const served = await servePage({
    store: emoji.store,
    model: 'emoji',
    files: new Map([...files, ...more]),
    patienceMs: PATIENCE_MS,
  });
  const proxy = await cutProxy(served.url, delayMs);
  const profile = await mkdtemp(join(tmpdir(), 'edge-dit-evidence-'));
  const browser = await openChromium(profile);
  const open = async () => {
    const page = await openPage(browser.context, proxy.url, errors);
    await choose(page, 'policy', 'device');
    return page;
  };
  const stopServer = async () => {
    await proxy.close();
    await served.close();
  };
  try {
    return await work({ open, proxy, stopServer, offline: (is) => browser.context.setOffline(is) });
  } finally {
    await browser.close();
    await stopServer().catch(() => {});
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Tools {
  open(): Promise<Page>;
  readonly proxy: CutProxy;
  stopServer(): Promise<void>;
  offline(is: boolean): Promise<void>;
}

/** SwiftShader takes half a minute for a step on a busy machine. */
const PATIENCE_MS = { device: 3_600_000, endpoint: 60_000 };

/** Of 32 KiB on each of four connections: 50 Mbit/s, a good mobile network. Faster ones have more bytes on their way when a tab dies. */
const DELAY_MS = 20;

async function resume() {
  const rounds = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const share = (round + 0.5) / Number(values.rounds);
    const how = (['cut', 'offline', 'killed'] as const)[round % 3];
    const reread = await fresh(
      async ({ open, proxy, offline }) => {
        const page = await open();
        await choose(page, 'engine', 'wasm-simd');
        const at = share * modelBytes;
        if (how === 'cut') proxy.cutAfter(at);
        const first = draw(page, { ...request, steps: 1 }).catch(() => undefined);
        while (proxy.shardBytes() < at) await new Promise((resolve) => setTimeout(resolve, 5));
        if (how === 'offline') {
          await offline(true);
          proxy.cutAfter(0);
        }
        // The process of the tab dies in the middle, and nothing can be written any more.
        if (how === 'killed') await crash(page);
        await first;
        await page.close();
        proxy.mend();
        await offline(false);
        const again = await open();
        await choose(again, 'engine', 'wasm-simd');
        const { said } = await draw(again, { ...request, steps: 1 });
        expect(said.startsWith('Made'), `resume ${how}: ${said}`);
        return proxy.shardBytes() / modelBytes - 1;
      },
      { delayMs: DELAY_MS },
    );
    progress(`resume: ${how} at ${(100 * share).toFixed(0)}%, read again ${(100 * reread).toFixed(2)}%`);
    expect(reread <= 0.1, `resume ${how} at ${share}: ${reread}`);
    rounds.push({ how, at: share, readAgain: reread });
  }
  return {
    modelBytes,
    network: '50 Mbit/s',
    mostReadAgain: Math.max(...rounds.map(({ readAgain }) => readAgain)),
    rounds,
  };
}

async function crash(page: Page): Promise<void> {
  const gone = new Promise((resolve) => page.once('crash', resolve));
  const devtools = await page.context().newCDPSession(page);
  // Whoever dies does not answer.
  devtools.send('Page.crash').catch(() => {});
  await gone;
}

async function offline() {
  return fresh(async ({ open, stopServer }) => {
    const page = await open();
    await choose(page, 'text', 'device');
    const before = await draw(page, request);
    await page.close();
    await stopServer();
    const again = await open();
    const same = await draw(again, request);
    const other = await draw(again, { ...request, prompt: 'blue car, noto style' });
    const equal = Buffer.compare(before.png ?? new Uint8Array(), same.png ?? new Uint8Array()) === 0;
    expect(before.png !== undefined && equal, `offline: ${same.said}${same.problem}`);
    expect(other.png !== undefined, `offline, a new prompt: ${other.said}${other.problem}`);
    progress(`offline: ${same.said}`);
    return { samePicture: equal, newPrompt: other.png !== undefined };
  });
}

async function split() {
  const ways = [];
  for (const text of ['edge', 'device'] as const) {
    const way = await fresh(async ({ open, proxy }) => {
      const page = await open();
      await choose(page, 'text', text);
      const before = total(proxy);
      const start = performance.now();
      const { said } = await draw(page, request);
      expect(said.startsWith('Made'), `split ${text}: ${said}`);
      const firstMs = performance.now() - start;
      const firstBytes = total(proxy) - before;
      const times = [];
      for (const prompt of ['blue car, noto style', 'green tree, twemoji style', 'yellow fish, fluent style']) {
        const at = performance.now();
        await draw(page, { ...request, prompt });
        times.push(performance.now() - at);
      }
      const nextBytes = (total(proxy) - before - firstBytes) / times.length;
      const memory = await memoryOf(page);
      return { text, firstBytes, firstMs, nextBytes, nextMs: median(times), ...memory };
    });
    progress(`split, prompts embedded on the ${text}: ${JSON.stringify(way)}`);
    ways.push(way);
  }
  return { ways, endpoint: await embedTimes() };
}

/** Of `POST /embed` in workerd, where everything is cold at first. */
async function embedTimes() {
  const served = await serveWorkerd({ store: emoji.store, models: ['emoji'] });
  try {
    const times = [];
    let bytes = 0;
    for (const prompt of ['red apple', '', 'blue car', 'green tree', 'yellow fish']) {
      const start = performance.now();
      const body = JSON.stringify({ prompt });
      const response = await fetch(`${served.url}/embed`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      bytes = (await response.arrayBuffer()).byteLength;
      times.push(performance.now() - start);
    }
    return { coldMs: times[0], warmMs: median(times.slice(1)), bytes };
  } finally {
    await served.close();
  }
}

async function memory() {
  return fresh(async ({ open }) => {
    const page = await open();
    const figures = [];
    for (let picture = 1; picture <= 10; picture++) {
      const { said } = await draw(page, { ...request, seed: picture });
      expect(said.startsWith('Made'), `memory: ${said}`);
      if (picture === 1 || picture === 10) figures.push({ picture, ...(await memoryOf(page)) });
    }
    const [first, tenth] = figures;
    const growth = {
      page: tenth.pageBytes / first.pageBytes - 1,
      runtime: tenth.runtimeBytes / first.runtimeBytes - 1,
    };
    progress(`memory: ${JSON.stringify({ first, tenth, growth })}`);
    expect(Math.abs(growth.page) <= 0.05 && Math.abs(growth.runtime) <= 0.05, `memory: ${JSON.stringify(growth)}`);
    return { first, tenth, growth };
  });
}

/** What the browser says of the page and its workers after a collection, and what the runtime's meter holds. */
async function memoryOf(page: Page): Promise<{ pageBytes: number; runtimeBytes: number }> {
  const said = (await page.textContent('#say')) ?? '';
  const runtimeBytes = 1e6 * Number(/holds ([\d.]+) MB/.exec(said)?.[1]);
  const pageBytes = await page.evaluate(async () => {
    const { measureUserAgentSpecificMemory } = performance as unknown as {
      measureUserAgentSpecificMemory(): Promise<{ bytes: number }>;
    };
    return (await measureUserAgentSpecificMemory.call(performance)).bytes;
  });
  return { pageBytes, runtimeBytes };
}

/** What the tests of engines say in Node, in the browser: integers of the reference's bits, floats within their bounds. */
async function conformance() {
  const [path, file] = await bundlePageTests();
  return fresh(
    async ({ open }) => {
      const page = await open();
      let done = 0;
      page.on('console', (message) => {
        if (message.type() === 'log') progress(`conformance: ${++done}: ${message.text()}`);
      });
      await page.addScriptTag({ url: path, type: 'module' });
      await page.waitForFunction(() => 'runPageTests' in globalThis);
      const report = await page.evaluate(() => runPageTests());
      expect(report.passed > 0 && report.failed.length === 0, `conformance: ${report.failed.join('; ')}`);
      return { adapter: await adapterOf(page), ...report };
    },
    { more: [[path, file]] },
  );
}

const adapterOf = (page: Page) =>
  page.evaluate(async () => {
    const { vendor, architecture, description } = (await navigator.gpu.requestAdapter())?.info ?? {};
    return [vendor, architecture, description].filter((part) => part).join(', ');
  });

async function gpu() {
  const asked = { ...request, steps: Number(values['gpu-steps']) };
  return fresh(async ({ open }) => {
    const page = await open();
    await choose(page, 'engine', 'wasm-simd');
    const wasm = await draw(page, asked);
    await choose(page, 'engine', 'webgpu');
    const start = performance.now();
    const { png, said, problem } = await draw(page, { ...asked, timeout: PATIENCE_MS.device });
    const seconds = (performance.now() - start) / 1000;
    expect(/with webgpu/.test(said), `gpu: ${said}${problem}`);
    if (!png || !wasm.png) return { problem: said + problem };
    if (values.pictures) {
      mkdirSync(values.pictures, { recursive: true });
      writeFileSync(join(values.pictures, 'webgpu.png'), png);
      writeFileSync(join(values.pictures, 'wasm.png'), wasm.png);
    }
    const decibels = psnr(decode(png).data, decode(wasm.png).data);
    progress(`gpu: ${said} PSNR ${decibels.toFixed(1)} dB`);
    // Of the model's own number of steps: fewer leave more of each step's difference in the picture.
    expect(decibels >= 45 || asked.steps < USUAL_STEPS, `gpu: ${decibels} dB`);
    const adapter = await adapterOf(page);
    const { recipe } = values;
    return { adapter, recipe, steps: asked.steps, seconds, psnr: Number.isFinite(decibels) ? decibels : 'identical' };
  });
}

const total = ({ sent }: CutProxy) => [...sent.values()].reduce((sum, bytes) => sum + bytes, 0);
const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[list.length >> 1];

const RUN: Record<Part, () => unknown> = {
  scripts: () => {
    const bytes = scriptBytes(files);
    expect(bytes <= 120_000, `scripts: ${bytes}`);
    return {
      gzipBytes: bytes,
      files: [...files].map(([path, { gzipBytes, optional }]) => ({ path, gzipBytes, optional })),
    };
  },
  resume,
  offline,
  split,
  memory,
  conformance,
  gpu,
};

const results = existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, 'utf8')) as Record<string, unknown>) : {};
for (const part of wanted) results[part] = await RUN[part]();
results.command = 'npm run evidence:browser';
results.machine = {
  cpu: cpus()[0].model,
  cores: cpus().length,
  browser: execFileSync(CHROMIUM!, ['--version'], { encoding: 'utf8' }).trim(),
  date: new Date().toISOString().slice(0, 10),
};
writeFileSync(RESULTS, `${JSON.stringify(results, null, 2)}\n`);
await emoji.remove();
if (errors.length > 0) failures.push(...errors);
for (const failure of failures) console.error(`missed: ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;
