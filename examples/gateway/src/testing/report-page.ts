/** A page for the test: loads the model twice, the second time from the browser's own files, and posts what it saw. */
import { openBrowserPipeline } from '../browser-pipeline.ts';

async function drawOnce(model: string) {
  const { pipeline, tidy } = await openBrowserPipeline({ model, near: [location.origin], budget: 256 * 2 ** 20 });
  const row = {
    count: 1,
    tokens: 8,
    channels: 32,
    data: new Float32Array(8 * 32).fill(0.5),
    mask: new Int32Array(8).fill(1),
  };
  const { rgb } = await pipeline.generate({ embedding: { prompt: row, negative: row }, seed: 5, steps: 2 });
  await tidy();
  return { digest: pipeline.digest, rgb: Array.from(rgb) };
}

try {
  const { model } = (await (await fetch('/page.json')).json()) as { model: string };
  const first = await drawOnce(model);
  const second = await drawOnce(model);
  const directory = await (await navigator.storage.getDirectory()).getDirectoryHandle('edge-dit');
  const names: string[] = [];
  for await (const name of (directory as unknown as { keys(): AsyncIterable<string> }).keys()) names.push(name);
  await report({ first, second, names });
} catch (error) {
  await report({ error: String(error) });
}

async function report(what: unknown): Promise<void> {
  await fetch('/report', { method: 'POST', body: JSON.stringify(what) });
}
