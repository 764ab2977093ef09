/**
 * `npm run screenshots`: the pictures of the playground in README.md, from the worker in workerd with the emoji model of the examples,
 * by the Chromium of CHROMIUM_PATH. Look at them before you commit them.
 */
import { join } from 'node:path';
import { serveWorkerd } from '@edge-dit/functions/serve-workerd';
import { publishEmoji } from '@edge-dit/sdk/testing/emoji-store';
import { chromium, type Page } from 'playwright-core';
import { root } from './repository.ts';

const GALLERY = [
  ['rocket', 'fluent 3d', 3],
  ['octopus', 'fluent 3d', 1],
  ['sunflower', 'noto', 2],
  ['slice of pizza', 'noto', 5],
  ['cactus', 'fluent', 1],
  ['owl', 'fluent 3d', 2],
  ['red apple', 'fluent 3d', 1],
] as const;

const MARGIN = 12;
const SHOTS = [
  { name: 'playground-light', viewport: { width: 1120, height: 900 }, colorScheme: 'light' },
  { name: 'playground-dark', viewport: { width: 1120, height: 900 }, colorScheme: 'dark' },
  { name: 'playground-phone', viewport: { width: 390, height: 844 }, colorScheme: 'light' },
] as const;

async function drawAll(page: Page): Promise<void> {
  for (const [prompt, style, seed] of GALLERY) {
    await page.getByLabel('Prompt', { exact: true }).fill(prompt);
    await page.getByText(style, { exact: true }).click();
    await page.getByLabel('Seed', { exact: true }).fill(String(seed));
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.locator('#generate').waitFor({ timeout: 120_000 });
    await page.getByRole('link', { name: 'Download' }).waitFor();
  }
}

const emoji = await publishEmoji('w8a8');
const served = await serveWorkerd({ store: emoji.store, models: ['emoji'], memoryLimitMb: 256 });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
  args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
});
try {
  const context = await browser.newContext({ deviceScaleFactor: 1.5 });
  const page = await context.newPage();
  await page.goto(served.url);
  await page.locator('#about', { hasText: 'emoji' }).waitFor();
  await drawAll(page);
  for (const { name, viewport, colorScheme } of SHOTS) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    // On a phone the picture is below the form.
    const top = (await page.locator('#stage').boundingBox())!.y;
    await page.evaluate((y) => scrollBy(0, y), top > viewport.height / 2 ? top - MARGIN : 0);
    await page.screenshot({ path: join(root, 'docs/images', `${name}.png`) });
  }
} finally {
  await browser.close();
  await served.close();
  await emoji.remove();
}
