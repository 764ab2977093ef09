/** The picture: noise, previews and the result, with what it took; and the shelf of those before. */
import { byId, input, make, say, show } from './elements.ts';
import type { Model } from './endpoint.ts';
import type { Entry } from './gallery.ts';

const picture = byId<HTMLImageElement>('picture');
const progress = byId<HTMLProgressElement>('progress');

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const MIB = 2 ** 20;
/** What is read out while a picture is made: a quarter at a time, not every step. */
const SPOKEN_QUARTER = 0.25;

/** Addresses of blobs, each made once. */
const addresses = new Map<string, string>();
function addressOf({ id, picture }: Entry): string {
  if (!addresses.has(id)) addresses.set(id, URL.createObjectURL(picture));
  return addresses.get(id)!;
}

let spoken = 0;

export function begin(subject: string): void {
  byId('stage').className = 'running';
  byId('stage').scrollIntoView({ block: 'nearest' });
  drawNoise();
  show('empty', false);
  show('picture', false);
  show('actions', false);
  show('progress', true);
  progress.removeAttribute('value');
  spoken = 0;
  say('caption', subject);
  say('status', 'Waiting for a turn');
}

export function loading({ bytes }: Model): void {
  say(
    'status',
    `Starting; a model that is not loaded yet (${((bytes.shards + bytes.files) / MIB).toFixed(0)} MiB) is loaded first`,
  );
}

export function advance(step: number, of: number, eta: number | null): void {
  progress.max = of;
  progress.value = step;
  if (step / of < spoken) return;
  spoken = step / of + SPOKEN_QUARTER;
  say('status', `Step ${step} of ${of}${eta ? `, ${eta.toFixed(1)} s left` : ''}`);
}

export function preview(url: string, subject: string): void {
  picture.src = url;
  picture.alt = `${subject}, not finished yet`;
  picture.hidden = false;
}

/** As at the beginning. */
export function clear(): void {
  byId('stage').className = '';
  show('progress', false);
  show('picture', false);
  show('actions', false);
  show('empty', true);
  say('caption', '');
}

export function present(entry: Entry): void {
  const { subject, settings, took, picture: blob, id } = entry;
  byId('stage').className = '';
  picture.src = addressOf(entry);
  picture.alt = subject;
  picture.hidden = false;
  show('empty', false);
  show('progress', false);
  show('actions', true);
  say('caption', subject);
  const { seed, steps, guidance } = settings;
  say(
    'status',
    `${seconds(took)}, ${(blob.size / 1024).toFixed(1)} KiB, seed ${seed}, ${steps} steps, guidance ${guidance}`,
  );
  const link = byId<HTMLAnchorElement>('download');
  link.href = addressOf(entry);
  link.download = `${subject.replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 60)}-${seed}.png`;
  for (const button of document.querySelectorAll('#gallery button')) {
    button.setAttribute('aria-current', String(button.id === id));
  }
}

export function shelve(entries: readonly Entry[], choose: (entry: Entry) => void): void {
  show('shelf', entries.length > 0);
  for (const [id, url] of addresses) {
    if (entries.some((entry) => entry.id === id)) continue;
    URL.revokeObjectURL(url);
    addresses.delete(id);
  }
  byId('gallery').replaceChildren(
    ...entries.map((entry) => {
      const image = make('img', {
        src: addressOf(entry),
        alt: `${entry.subject}, seed ${entry.settings.seed}`,
        loading: 'lazy',
      });
      return make('li', {}, make('button', { type: 'button', id: entry.id, onclick: () => choose(entry) }, image));
    }),
  );
}

/** What denoising begins with, while there is nothing to see yet. */
function drawNoise(): void {
  const context = byId<HTMLCanvasElement>('noise').getContext('2d')!;
  const { data, width, height } = context.createImageData(32, 32);
  const noise = crypto.getRandomValues(new Uint8Array(data.length));
  data.set(noise.map((value, i) => (i % 4 === 3 ? 255 : value)));
  context.putImageData(new ImageData(data, width, height), 0, 0);
}

/** The stage's own; the form has its fields. */
export const busy = (running: boolean) => {
  show('generate', !running);
  show('cancel', running);
  const [from, to] = running ? ['generate', 'cancel'] : ['cancel', 'generate'];
  // The button that had the focus is gone, and the other stands in its place.
  if (document.activeElement === document.body || document.activeElement?.id === from) input(to).focus();
};
