/** For tests: a headless Chromium with a GPU in software, where there is one on this machine. */
import { type BrowserContext, chromium, type Page } from 'playwright-core';

export const CHROMIUM = process.env.CHROMIUM_PATH;
export const NO_CHROMIUM =
  CHROMIUM === undefined ? 'no Chromium: set CHROMIUM_PATH to a chromium or chrome' : undefined;

/** WebGPU on SwiftShader; memory can be measured when garbage was collected. */
const ARGUMENTS = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-features=Vulkan',
  '--js-flags=--expose-gc',
  '--enable-precise-memory-info',
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

export interface OpenedChromium {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

/** @param profile a folder that outlives it: what a browser keeps */
export async function openChromium(profile: string): Promise<OpenedChromium> {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM!,
    args: ARGUMENTS,
    viewport: { width: 1100, height: 900 },
  });
  return { context, close: () => context.close() };
}

/** Opens the page and waits until it can draw; what its scripts throw is the test's failure. */
export async function openPage(context: BrowserContext, url: string, errors: string[]): Promise<Page> {
  const page = await context.newPage();
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById('place')?.textContent !== 'opening');
  return page;
}

/** Chooses in the page's settings, without opening them. */
export async function choose(page: Page, id: 'policy' | 'engine' | 'text', value: string): Promise<void> {
  await page.evaluate(
    ([select, chosen]) => {
      const element = document.getElementById(select) as HTMLSelectElement;
      element.value = chosen;
      element.dispatchEvent(new Event('change'));
    },
    [id, value],
  );
}

export interface Drawing {
  readonly prompt?: string;
  readonly seed?: number;
  readonly steps?: number;
  /** Milliseconds for the picture. Default 240,000. */
  readonly timeout?: number;
}

/** What the page says at the end, and the picture's PNG where there is one. */
export async function draw(
  page: Page,
  { prompt = 'red apple, fluent 3d style', seed = 1, steps = 2, timeout }: Drawing = {},
) {
  await page.fill('#prompt', prompt);
  await page.fill('#seed', String(seed));
  await page.fill('#steps', String(steps));
  await page.click('#draw:not([disabled])');
  return finished(page, timeout);
}

export async function finished(
  page: Page,
  timeout = 240_000,
): Promise<{ said: string; problem: string; png: Uint8Array | undefined }> {
  await page.waitForSelector('#cancel', { state: 'hidden', timeout });
  const said = (await page.textContent('#say')) ?? '';
  const problem = (await page.textContent('#problem')) ?? '';
  if (!said.startsWith('Made')) return { said, problem, png: undefined };
  const base64 = await page.evaluate(async () => {
    const { src } = document.querySelector('#gallery img') as HTMLImageElement;
    const bytes = new Uint8Array(await (await fetch(src)).arrayBuffer());
    return btoa(String.fromCharCode(...bytes));
  });
  return { said, problem, png: new Uint8Array(Buffer.from(base64, 'base64')) };
}
