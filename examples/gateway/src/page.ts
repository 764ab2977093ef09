/** The page: a prompt in, a picture on a canvas out. All computing is done here; the gateway only hands out the model. */
import { openBrowserPipeline } from './browser-pipeline.ts';

const MIB = 2 ** 20;
/** What a phone of 4 GB lets a page have without complaint. */
const BUDGET = 512 * MIB;

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const say = (text: string) => {
  element('say').textContent = text;
};

const { model, last } = (await (await fetch('/page.json')).json()) as { model: string; last?: string };
const opening = openBrowserPipeline({ model, near: [location.origin], last, budget: BUDGET });
opening.then(
  ({ pipeline }) => say(`${pipeline.manifest.model}, version ${pipeline.digest.slice(0, 12)}`),
  (error) => say(String(error)),
);

element<HTMLFormElement>('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = element<HTMLButtonElement>('draw');
  button.disabled = true;
  try {
    const { pipeline, tidy } = await opening;
    const total = pipeline.manifest.shards.reduce((sum, { length }) => sum + length, 0);
    let bytes = 0;
    say('encoding the prompt');
    const { width, height, rgb, timings } = await pipeline.generate(
      { prompt: element<HTMLInputElement>('prompt').value, seed: Number(element<HTMLInputElement>('seed').value) },
      {
        onBytes: (count) => {
          bytes += count;
          say(`loading: ${(bytes / MIB).toFixed(1)} of ${(total / MIB).toFixed(1)} MiB`);
        },
        onStep: (step, steps) => say(`step ${step} of ${steps}`),
      },
    );
    draw(rgb, width, height);
    const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
    say(`loading ${seconds(timings.load)}, drawing ${seconds(timings.sample)}, ${pipeline.engine?.name}`);
    await tidy();
  } catch (error) {
    say(String(error));
  } finally {
    button.disabled = false;
  }
});

function draw(rgb: Uint8Array, width: number, height: number): void {
  const canvas = element<HTMLCanvasElement>('picture');
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
  canvas.getContext('2d')?.putImageData(image, 0, 0);
}
