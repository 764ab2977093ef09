/** The playground in Chromium against the worker in workerd: what people see, with a mouse, with keys and with a screen reader. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { Served } from '@edge-dit/functions/listen';
import { serveWorkerd } from '@edge-dit/functions/serve-workerd';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { AxeResults } from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { publish } from './publish/publish.ts';
import { type EmojiStore, publishEmoji } from './testing/emoji-store.ts';
import { generate } from './testing/endpoint-client.ts';
import { VersionedModels } from './testing/versioned-models.ts';

const path = process.env.CHROMIUM_PATH;
const skip = path === undefined ? 'no Chromium: set CHROMIUM_PATH to a chromium or chrome' : undefined;
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const ELSEWHERE = 'phone-at-home.test';
const DESKTOP = { width: 1200, height: 900 };
const PHONE = { width: 360, height: 740 };
const SETTINGS = { prompt: 'red apple, noto style', seed: 7, steps: 4, guidance: 3 };

describe('the playground', { skip }, () => {
  let emoji: EmojiStore;
  let served: Served;
  let browser: Browser;
  let scratch: string;

  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'edge-dit-playground-'));
    emoji = await publishEmoji('w4a8');
    served = await serveWorkerd({ store: emoji.store, models: ['emoji'] });
    // A name that is not of this machine, for pages that browsers do not trust as they do those of 127.0.0.1.
    const args = [`--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`];
    if (process.getuid?.() === 0) args.push('--no-sandbox');
    browser = await chromium.launch({ executablePath: path, args });
  });
  after(async () => {
    await browser?.close();
    await served?.close();
    await emoji?.remove();
    await rm(scratch, { recursive: true });
  });

  /** A new browser profile at the page, ready for a prompt; errors of the page fail the test. */
  async function withPage(options: BrowserContextOptions, work: (page: Page) => Promise<void>): Promise<void> {
    const context = await browser.newContext({ viewport: DESKTOP, acceptDownloads: true, ...options });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const page = await context.newPage();
    const errors: unknown[] = [];
    page.on('pageerror', (error) => errors.push(error));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    try {
      await page.goto(served.url);
      await page.locator('#about', { hasText: 'emoji' }).waitFor();
      await work(page);
      const ofPage = errors.filter((error) => !/status of 4\d\d/.test(String(error)));
      assert.deepEqual(ofPage, []);
    } finally {
      await context.close();
    }
  }

  async function fill(page: Page, { seed, steps }: { seed: number; steps: number } = SETTINGS): Promise<void> {
    await page.getByLabel('Prompt', { exact: true }).fill('red apple');
    await page.getByText('noto', { exact: true }).click();
    await page.getByLabel('Seed', { exact: true }).fill(String(seed));
    await page.getByRole('slider', { name: 'Steps' }).fill(String(steps));
  }

  const finished = (page: Page) => page.getByRole('link', { name: 'Download' }).waitFor({ timeout: 60_000 });

  async function downloaded(page: Page): Promise<Uint8Array> {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Download' }).click(),
    ]);
    assert.match(download.suggestedFilename(), /^red-apple-noto-style-7\.png$/);
    return new Uint8Array(await readFile(await download.path()));
  }

  test('a picture appears from a typed prompt, with previews before it, and is the one that the API gives', async () => {
    await withPage({}, async (page) => {
      await fill(page);
      // Every picture that is shown, while it is shown.
      await page.evaluate(() => {
        const seen: string[] = [];
        Object.assign(globalThis, { seen });
        const picture = document.querySelector<HTMLImageElement>('#picture')!;
        new MutationObserver(() => seen.push(picture.src.slice(0, 20))).observe(picture, { attributeFilter: ['src'] });
      });
      await page.getByRole('button', { name: 'Generate' }).click();
      await page.getByRole('progressbar', { name: 'Denoising' }).waitFor();
      await finished(page);
      const seen = await page.evaluate(() => (globalThis as unknown as { seen: string[] }).seen);
      assert.ok(seen.filter((src) => src.startsWith('data:image/png')).length >= 2, `previews: ${seen.join()}`);
      assert.match(seen.at(-1)!, /^blob:/);
      assert.match(await page.locator('#status').innerText(), /^\d+\.\d s, [\d.]+ KiB, seed 7, 4 steps, guidance 3$/);
      assert.equal(await page.getByRole('img', { name: 'red apple, noto style', exact: true }).count(), 1);
      assert.deepEqual(await downloaded(page), (await generate(served.url, SETTINGS)).png);
    });
  });

  test('what is copied, run elsewhere, gives the same picture', async () => {
    await withPage({}, async (page) => {
      await fill(page);
      await page.getByRole('button', { name: 'Generate' }).click();
      await finished(page);
      const expected = await downloaded(page);
      const copied = async (name: string) => {
        await page.getByRole('button', { name: `Copy as ${name}` }).click();
        await page.getByText(`Copied as ${name}.`).waitFor();
        return page.evaluate(() => navigator.clipboard.readText());
      };
      const run = promisify(execFile);
      await run('sh', ['-c', await copied('curl')], { cwd: scratch });
      assert.deepEqual(new Uint8Array(await readFile(join(scratch, 'picture.png'))), expected);
      await rm(join(scratch, 'picture.png'));
      // It has no types to strip, so that it is JavaScript as well.
      await writeFile(join(scratch, 'snippet.mjs'), await copied('TypeScript'));
      await run(process.execPath, ['snippet.mjs'], { cwd: scratch });
      assert.deepEqual(new Uint8Array(await readFile(join(scratch, 'picture.png'))), expected);
    });
  });

  test('without TLS, and where a browser keeps nothing, the page draws and copies all the same', async () => {
    const context = await browser.newContext({ viewport: PHONE });
    try {
      const page = await context.newPage();
      const errors: unknown[] = [];
      page.on('pageerror', (error) => errors.push(error));
      await page.addInitScript(() => {
        for (const name of ['localStorage', 'sessionStorage', 'indexedDB']) {
          const get = () => {
            throw new DOMException('denied', 'SecurityError');
          };
          Object.defineProperty(globalThis, name, { get });
        }
      });
      await page.goto(`http://${ELSEWHERE}:${new URL(served.url).port}`);
      assert.equal(await page.evaluate(() => isSecureContext), false);
      await page.locator('#about', { hasText: 'emoji' }).waitFor();
      await page.getByRole('button', { name: 'Theme: system' }).click();
      await fill(page);
      await page.getByRole('button', { name: 'Generate' }).click();
      await finished(page);
      await page.getByRole('button', { name: 'red apple, noto style, seed 7' }).waitFor();
      await page.getByRole('button', { name: 'Copy as curl' }).click();
      await page.getByText('Copied as curl.').waitFor();
      assert.equal(await page.evaluate(() => document.activeElement?.id), 'copy-curl');
      await page.getByLabel('Prompt', { exact: true }).fill('');
      await page.keyboard.press('Control+V');
      assert.match(await page.getByLabel('Prompt', { exact: true }).inputValue(), /^curl '.*\/generate'/);
      assert.deepEqual(errors, []);
    } finally {
      await context.close();
    }
  });

  for (const [device, viewport] of [
    ['desktop', DESKTOP],
    ['phone', PHONE],
  ] as const) {
    for (const colorScheme of ['light', 'dark'] as const) {
      test(`axe finds nothing, and nothing is cut off: ${device}, ${colorScheme}`, async () => {
        // axe is no part of the page, so its policy has to let it in.
        await withPage({ viewport, colorScheme, bypassCSP: true }, async (page) => {
          const examine = async (when: string) => {
            await page.evaluate(axe);
            const { violations } = await page.evaluate<AxeResults>('axe.run()');
            const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(', ')}`);
            assert.deepEqual(found, [], when);
            const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
            assert.ok(inner <= outer, `${when}: ${inner} pixels wide in ${outer}`);
          };
          await examine('empty');
          await page.getByText('More', { exact: true }).click();
          await page.getByRole('button', { name: 'Generate' }).click();
          await page.getByText('Say what to draw').waitFor();
          await examine('with the rest of the form, and an error');
          await fill(page, { seed: 1, steps: 12 });
          await page.getByRole('button', { name: 'Generate' }).click();
          await page.getByRole('progressbar').waitFor();
          await examine('while it draws');
          await finished(page);
          await examine('with a picture');
        });
      });
    }
  }

  test('keys alone are enough: prompt, style, seed, start, cancel, gallery', async () => {
    await withPage({}, async (page) => {
      const focused = () => page.evaluate(() => document.activeElement?.id ?? '');
      const tabTo = async (wanted: () => Promise<boolean>) => {
        for (let i = 0; i < 40; i++) {
          if (await wanted()) return;
          await page.keyboard.press('Tab');
        }
        assert.fail('it is not reached by Tab');
      };
      const tabToId = (id: string) => tabTo(async () => (await focused()) === id);
      await tabToId('prompt');
      await page.keyboard.type('rocket');
      await tabTo(() => page.evaluate(() => (document.activeElement as HTMLInputElement)?.name === 'style'));
      await page.keyboard.press('ArrowRight');
      assert.equal(await page.locator('[name=style]:checked').inputValue(), 'fluent style');
      await tabToId('dice');
      await page.keyboard.press('Enter');
      const seed = await page.locator('#seed').inputValue();
      assert.match(seed, /^\d+$/);
      await tabToId('steps');
      for (let i = 0; i < 16; i++) await page.keyboard.press('ArrowLeft');
      assert.equal(await page.locator('#steps-value').innerText(), '4');
      await tabToId('generate');
      await page.keyboard.press('Enter');
      await page.locator('#cancel').waitFor();
      assert.equal(await focused(), 'cancel', 'the focus is where the button was');
      await finished(page);
      assert.equal(await focused(), 'generate');
      assert.match(await page.locator('#status').innerText(), new RegExp(`seed ${seed}, 4 steps`));
      await page.keyboard.press('Enter');
      await page.locator('#cancel').waitFor();
      await page.keyboard.press('Escape');
      await page.getByText('Cancelled.').waitFor();
      await tabTo(() => page.evaluate(() => document.activeElement?.closest('#gallery') !== null));
      await page.keyboard.press('Enter');
      await finished(page);
      assert.equal(
        await page.locator('#gallery [aria-current=true] img').getAttribute('alt'),
        `rocket, fluent style, seed ${seed}`,
      );
    });
  });

  test('cancelling ends the work at the endpoint too', async () => {
    await withPage({}, async (page) => {
      await fill(page, { seed: 1, steps: 50 });
      await page.getByRole('button', { name: 'Generate' }).click();
      await page.getByText(/^Step \d+ of 50/).waitFor({ timeout: 30_000 });
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.getByText('Cancelled.').waitFor();
      await page.getByRole('button', { name: 'Generate' }).waitFor();
      const running = async () => {
        const { work } = await (await fetch(`${served.url}/healthz`)).json();
        return work.running + work.waiting;
      };
      const deadline = Date.now() + 5000;
      while ((await running()) > 0) assert.ok(Date.now() < deadline, 'it still works for nobody');
    });
  });

  test('what the endpoint refuses stands at its field, and the field has the focus', async () => {
    await withPage({}, async (page) => {
      await fill(page);
      await page.getByText('More', { exact: true }).click();
      await page.getByLabel('Width').fill('100');
      await page.getByRole('button', { name: 'Generate' }).click();
      await page.locator('#width-error', { hasText: 'multiple of 8' }).waitFor();
      const width = page.getByLabel('Width');
      assert.equal(await width.getAttribute('aria-invalid'), 'true');
      assert.equal(await page.evaluate(() => document.activeElement?.id), 'width');
      await width.fill('64');
      await page.getByRole('button', { name: 'Generate' }).click();
      await finished(page);
      assert.equal(await width.getAttribute('aria-invalid'), null);
    });
  });

  test('an endpoint with keys asks for one; a model of classes is asked for a class', async () => {
    const store = new MemoryStore();
    await publish({ ...(await (await VersionedModels.make()).version('m', 1)), store });
    const sha256 = createHash('sha256').update('the-key').digest('hex');
    const guarded = await serveWorkerd({
      store,
      models: ['m'],
      keys: [{ name: 'me', sha256, scopes: ['generate', 'models'] }],
    });
    const context = await browser.newContext({ viewport: DESKTOP });
    try {
      const page = await context.newPage();
      await page.goto(guarded.url);
      await page.getByRole('alert').getByText('no key was sent').waitFor();
      assert.equal(await page.evaluate(() => document.activeElement?.id), 'key');
      await page.keyboard.type('the-key');
      await page.keyboard.press('Tab');
      await page.locator('#about', { hasText: 'm' }).waitFor();
      await page.getByLabel('Class').selectOption('3');
      await page.getByRole('slider', { name: 'Steps' }).fill('1');
      await page.getByRole('button', { name: 'Generate' }).click();
      await finished(page);
      assert.equal(await page.locator('#caption').innerText(), 'class 3');
      assert.equal(await page.getByRole('alert').innerText(), '');
    } finally {
      await context.close();
      await guarded.close();
    }
  });

  test('the gallery is there again after a reload, gives settings back, and can be emptied', async () => {
    await withPage({}, async (page) => {
      await fill(page);
      await page.getByRole('button', { name: 'Generate' }).click();
      await finished(page);
      await page.reload();
      await page.getByRole('button', { name: 'red apple, noto style, seed 7' }).click();
      await page.getByRole('button', { name: 'Reuse settings' }).click();
      assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'red apple');
      assert.equal(await page.locator('[name=style]:checked').inputValue(), 'noto style');
      assert.equal(await page.getByLabel('Seed', { exact: true }).inputValue(), '7');
      assert.equal(await page.locator('#steps-value').innerText(), '4');
      await page.getByRole('button', { name: 'Clear' }).click();
      await page.getByText('The gallery is empty.').waitFor();
      await page.reload();
      await page.locator('#about', { hasText: 'emoji' }).waitFor();
      assert.equal(await page.locator('#shelf').isVisible(), false);
    });
  });
});
