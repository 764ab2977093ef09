/** What the page shows, and what was chosen in it. */

import type { TextPlace } from '@edge-dit/runtime/browser/open-browser-pipeline';
import type { StoredModel } from '@edge-dit/runtime/browser/stored-models';
import { engineKinds } from '@edge-dit/runtime/engines/kinds/index';
import type { Picture } from '@edge-dit/runtime/picture';

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const chosen = (id: string) => element<HTMLInputElement | HTMLSelectElement>(id).value;

export type Policy = 'device-first' | 'endpoint-first' | 'device' | 'endpoint';

export interface Asked {
  readonly prompt: string;
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
}

const MOST_PICTURES = 24;
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

export const view = {
  get asked(): Asked {
    return {
      prompt: chosen('prompt'),
      seed: Number(chosen('seed')),
      steps: Number(chosen('steps')),
      guidance: Number(chosen('guidance')),
    };
  },
  get policy() {
    return chosen('policy') as Policy;
  },
  get engine() {
    return chosen('engine');
  },
  get text() {
    return chosen('text') as TextPlace;
  },

  /** Fills the list of engines, and restores what was chosen in the last visit. */
  start(): void {
    const names = ['auto', ...engineKinds.map(({ name }) => name)];
    const summaries = new Map(engineKinds.map(({ name, summary }) => [name, summary]));
    element('engine').replaceChildren(
      ...names.map((name) => new Option(summaries.has(name) ? `${name}: ${summaries.get(name)}` : 'the fastest', name)),
    );
    for (const id of ['policy', 'engine', 'text']) {
      const select = element<HTMLSelectElement>(id);
      const last = localStorage.getItem(id);
      if (last !== null && [...select.options].some(({ value }) => value === last)) select.value = last;
      select.addEventListener('change', () => localStorage.setItem(id, select.value));
    }
  },

  on(id: 'cancel' | 'dice' | 'load' | 'make-room', listener: () => void): void {
    element(id).addEventListener('click', listener);
  },
  onDraw(listener: () => void): void {
    element('form').addEventListener('submit', (event) => {
      event.preventDefault();
      listener();
    });
  },

  rollDice(): void {
    element<HTMLInputElement>('seed').value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
  },

  busy(is: boolean): void {
    for (const id of ['draw', 'dice', 'load']) element<HTMLButtonElement>(id).disabled = is;
    element('cancel').hidden = !is;
    element('bar').hidden = !is;
    if (is) this.progress(0);
  },
  progress(share: number): void {
    const bar = element('bar');
    const percent = Math.round(100 * share);
    bar.setAttribute('aria-valuenow', String(percent));
    (bar.firstElementChild as HTMLElement).style.width = `${percent}%`;
  },
  say(text: string): void {
    element('say').textContent = text;
  },
  place(text: string): void {
    element('place').textContent = text;
  },
  problem(text: string | undefined, makeRoom = false): void {
    element('problem').textContent = text ?? '';
    element('make-room').hidden = !makeRoom;
  },
  notes(notes: readonly string[]): void {
    element('notes').replaceChildren(...notes.map((note) => item(note)));
  },

  models(models: readonly StoredModel[], remove: (model: string) => void): void {
    const rows = models.map(({ model, bytes, lastUsed }) => {
      const row = item(`${model}, ${megabytes(bytes)}, used ${lastUsed.toLocaleDateString()}`);
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'quiet';
      button.textContent = 'Delete';
      button.setAttribute('aria-label', `Delete ${model} from this browser`);
      button.addEventListener('click', () => remove(model));
      row.append(button);
      return row;
    });
    element('models').replaceChildren(...(rows.length > 0 ? rows : [item('Nothing yet.')]));
  },

  picture({ width, height, rgb }: Picture, label: string): void {
    const canvas = element<HTMLCanvasElement>('picture');
    [canvas.width, canvas.height] = [width, height];
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) image.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
    canvas.getContext('2d')?.putImageData(image, 0, 0);
    canvas.setAttribute('aria-label', label);
  },

  async png(png: Uint8Array<ArrayBuffer>, label: string, caption: string): Promise<void> {
    const blob = new Blob([png], { type: 'image/png' });
    const bitmap = await createImageBitmap(blob);
    const canvas = element<HTMLCanvasElement>('picture');
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext('2d')?.drawImage(bitmap, 0, 0);
    bitmap.close();
    canvas.setAttribute('aria-label', label);
    addToGallery(URL.createObjectURL(blob), label, caption);
  },
};

function addToGallery(url: string, label: string, caption: string): void {
  const gallery = element('gallery');
  const [row, figure, image, text] = (['li', 'figure', 'img', 'figcaption'] as const).map((name) =>
    document.createElement(name),
  );
  Object.assign(image, { src: url, alt: label });
  text.textContent = caption;
  figure.append(image, text);
  row.append(figure);
  gallery.prepend(row);
  while (gallery.children.length > MOST_PICTURES) {
    URL.revokeObjectURL(gallery.lastElementChild!.querySelector('img')!.src);
    gallery.lastElementChild!.remove();
  }
}

function item(text: string): HTMLLIElement {
  const row = document.createElement('li');
  const span = document.createElement('span');
  span.textContent = text;
  row.append(span);
  return row;
}
