/** The form: a model in, its fields fitted to it; settings out, and whatever an endpoint refuses said of its field. */
import { byId, input, make, say, show } from './elements.ts';
import type { Model, Refusal, Settings } from './endpoint.ts';

/** Seeds that the page draws are short enough to be copied by hand. */
const SEEDS = 2 ** 32;
const FIELDS = ['prompt', 'class', 'negative_prompt', 'seed', 'steps', 'guidance', 'width', 'height'];
/** Where the form's id is not the name of the request's field. */
const IDS: Readonly<Record<string, string>> = { negative_prompt: 'negative' };
const MAX_EXAMPLES = 4;

let model: Model;

export const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] % SEEDS;

export function fitTo(chosen: Model): void {
  model = chosen;
  const { conditioning, prompting = {}, size, defaults } = model;
  const isText = conditioning.type === 'text';
  show('prompt-field', isText);
  show('negative-field', isText);
  show('class-field', !isText);
  const { styles = [], examples = [] } = isText ? prompting : {};
  show('style-field', styles.length > 0);
  byId('styles').replaceChildren(...['none', ...styles].map((style, i) => styleChoice(style, i === 1)));
  show('examples', examples.length > 0);
  byId('examples').replaceChildren(
    ...examples
      .slice(0, MAX_EXAMPLES)
      .map((text) => make('button', { type: 'button', textContent: text, onclick: () => propose(text) })),
  );
  if (!isText) {
    const names = conditioning.names ?? Array.from({ length: conditioning.count }, (_, i) => String(i));
    byId('class').replaceChildren(...names.map((name, i) => make('option', { value: String(i), textContent: name })));
  }
  show('size-field', !size.fixed);
  for (const side of ['width', 'height'] as const) {
    Object.assign(input(side), {
      min: String(size.multipleOf),
      step: String(size.multipleOf),
      value: '',
      placeholder: String(size[side]),
    });
  }
  setRange('steps', defaults.steps);
  setRange('guidance', defaults.guidance);
}

function styleChoice(style: string, checked: boolean): HTMLElement {
  const value = style === 'none' ? '' : style;
  return make(
    'label',
    {},
    make('input', { type: 'radio', name: 'style', value, checked }),
    style.replace(/ style$/, ''),
  );
}

function propose(text: string): void {
  input('prompt').value = text;
  input('prompt').focus();
}

/** A default beyond the slider's end moves the end. */
export function setRange(id: 'steps' | 'guidance', value: number): void {
  const range = input(id);
  if (value > Number(range.max)) range.max = String(value);
  range.value = String(value);
  say(`${id}-value`, range.value);
}

/** A seed that is empty is drawn now, so that the request can be repeated. Undefined: there is nothing to draw yet. */
export function readSettings(): Settings | undefined {
  clearErrors();
  const text = (id: string) => input(id).value.trim();
  const whole = (id: string) => (text(id) === '' ? undefined : Number(text(id)));
  const isText = model.conditioning.type === 'text';
  const prompt = [text('prompt'), style()].filter(Boolean).join(', ');
  if (isText && text('prompt') === '') {
    sayError('prompt', 'Say what to draw, for example "red apple".');
    return undefined;
  }
  if (!/^\d{0,16}$/.test(text('seed'))) {
    sayError('seed', 'A whole number, or nothing for a random one.');
    return undefined;
  }
  return {
    model: model.id,
    ...(isText ? { prompt } : { class: Number(input('class').value) }),
    ...(isText && text('negative') !== '' && { negative_prompt: text('negative') }),
    seed: whole('seed') ?? randomSeed(),
    steps: Number(text('steps')),
    guidance: Number(text('guidance')),
    ...(!model.size.fixed && { width: whole('width'), height: whole('height') }),
  };
}

const style = () => document.querySelector<HTMLInputElement>('[name=style]:checked')?.value ?? '';

/** What is read out for it. */
export function subjectOf(settings: Settings): string {
  if (settings.prompt !== undefined) return settings.prompt;
  const { conditioning } = model;
  const name = conditioning.type === 'class' ? conditioning.names?.[settings.class ?? 0] : undefined;
  return name ?? `class ${settings.class}`;
}

/** Puts settings back into the form; a style at the end of the prompt becomes the choice again. */
export function writeSettings(settings: Settings): void {
  clearErrors();
  const styles = model.prompting?.styles ?? [];
  const prompt = settings.prompt ?? '';
  const chosen = styles.filter((style) => prompt.endsWith(`, ${style}`)).sort((a, b) => b.length - a.length)[0] ?? '';
  input('prompt').value = chosen === '' ? prompt : prompt.slice(0, -chosen.length - 2);
  for (const radio of document.querySelectorAll<HTMLInputElement>('[name=style]'))
    radio.checked = radio.value === chosen;
  if (settings.class !== undefined) input('class').value = String(settings.class);
  input('negative').value = settings.negative_prompt ?? '';
  input('seed').value = String(settings.seed);
  setRange('steps', settings.steps);
  setRange('guidance', settings.guidance);
  for (const side of ['width', 'height'] as const) input(side).value = String(settings[side] ?? '');
}

/** What the endpoint says of fields stands at them; the first of them gets the focus. True: all was said there. */
export function sayRefusal({ fields }: Refusal): boolean {
  const known = fields.filter(({ pointer }) => FIELDS.includes(pointer.slice(2)));
  for (const { pointer, detail } of [...known].reverse())
    sayError(pointer.slice(2), `${detail[0].toUpperCase()}${detail.slice(1)}.`);
  return known.length > 0 && known.length === fields.length;
}

function sayError(field: string, message: string): void {
  const element = byId(IDS[field] ?? field);
  element.closest('details')?.setAttribute('open', '');
  element.setAttribute('aria-invalid', 'true');
  say(`${field}-error`, message);
  element.focus();
}

function clearErrors(): void {
  for (const field of FIELDS) {
    byId(IDS[field] ?? field).removeAttribute('aria-invalid');
    say(`${field}-error`, '');
  }
  say('problem', '');
}
