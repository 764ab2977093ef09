/** The playground: a prompt in, a picture of this endpoint out, step by step; and the same request for elsewhere. */
import { copyText, drawId, recall, remember } from './browser.ts';
import { byId, input, make, say, show } from './elements.ts';
import { draw, listModels, type Model, Refusal, type Settings, type Watcher } from './endpoint.ts';
import { fitTo, randomSeed, readSettings, sayRefusal, setRange, subjectOf, writeSettings } from './form.ts';
import { type Entry, forget, keep, openGallery } from './gallery.ts';
import { asCurl, asTypeScript } from './snippets.ts';
import * as stage from './stage.ts';
import { openTheme } from './theme.ts';

const KEY = 'edge-dit-key';
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;

let models: readonly Model[] = [];
let run: AbortController | undefined;
let shown: Entry | undefined;

const key = () => input('key').value.trim() || undefined;
const model = () => models.find(({ id }) => id === input('model').value) ?? models[0];

async function open(): Promise<void> {
  try {
    models = await listModels(key());
  } catch (error) {
    return refuse(error);
  }
  say('problem', '');
  byId('model').replaceChildren(...models.map(({ id }) => make('option', { value: id, textContent: id })));
  show('model-field', models.length > 1);
  chooseModel();
}

function chooseModel(): void {
  const { id, recipe, bytes, license, attribution } = model();
  fitTo(model());
  const size = `${(bytes.shards / 2 ** 20).toFixed(1)} MiB`;
  say('about', [id, recipe, size].filter(Boolean).join(' · '));
  say('license', [license && `Model: ${license}.`, attribution && `${attribution}.`].filter(Boolean).join(' '));
}

async function generate(): Promise<void> {
  if (run) return;
  if (models.length === 0) await open();
  const settings = models.length > 0 ? readSettings() : undefined;
  if (!settings) return;
  const subject = subjectOf(settings);
  const chosen = model();
  run = new AbortController();
  const { signal } = run;
  stage.begin(subject);
  stage.busy(true);
  const started = performance.now();
  try {
    const watcher: Watcher = {
      started: () => stage.loading(chosen),
      progressed: ({ step, of, eta }) => stage.advance(step, of, eta),
      previewed: (url) => stage.preview(url, subject),
    };
    const picture = await draw(settings, key(), watcher, signal);
    const took = performance.now() - started;
    const entry = { id: drawId(), time: Date.now(), picture, settings, subject, took };
    stage.shelve(await keep(entry), choose);
    present(entry);
  } catch (error) {
    // What was there before is there again.
    if (shown) stage.present(shown);
    else stage.clear();
    say('status', signal.aborted ? 'Cancelled.' : '');
    if (!signal.aborted) refuse(error);
  } finally {
    run = undefined;
    stage.busy(false);
  }
}

function present(entry: Entry): void {
  shown = entry;
  stage.present(entry);
}

/** From the gallery; while a picture is being made, the stage is its. */
function choose(entry: Entry): void {
  if (!run) present(entry);
}

function refuse(error: unknown): void {
  const refusal =
    error instanceof Refusal ? error : new Refusal(0, { title: 'The page failed', detail: String(error) });
  if (sayRefusal(refusal)) return;
  const { title, message, retryAfter, status } = refusal;
  const again = retryAfter === undefined ? '' : ` Try again in ${retryAfter} s.`;
  say('problem', `${title}: ${message}${again}`);
  if (status !== UNAUTHORIZED && status !== FORBIDDEN) return;
  byId('more').setAttribute('open', '');
  input('key').focus();
}

async function copy(
  text: (origin: string, settings: Settings, withKey: boolean) => string,
  name: string,
): Promise<void> {
  if (!shown) return;
  const snippet = text(location.origin, shown.settings, key() !== undefined);
  await copyText(snippet).then(
    () => say('status', `Copied as ${name}.`),
    () => say('status', 'The browser did not let this page copy.'),
  );
}

const on = (id: string, event: string, listener: (event: Event) => void) => byId(id).addEventListener(event, listener);

on('form', 'submit', (event) => {
  event.preventDefault();
  void generate();
});
on('prompt', 'keydown', (event) => {
  const { key, shiftKey, isComposing } = event as KeyboardEvent;
  if (key !== 'Enter' || shiftKey || isComposing) return;
  event.preventDefault();
  void generate();
});
document.addEventListener('keydown', ({ key }) => {
  if (key === 'Escape') run?.abort();
});
on('cancel', 'click', () => run?.abort());
on('model', 'change', chooseModel);
on('dice', 'click', () => {
  input('seed').value = String(randomSeed());
});
for (const id of ['steps', 'guidance'] as const) on(id, 'input', () => setRange(id, Number(input(id).value)));
on('key', 'change', () => {
  remember('sessionStorage', KEY, key() ?? '');
  if (models.length === 0) void open();
});
on('reuse', 'click', () => {
  if (!shown) return;
  const { settings } = shown;
  if (settings.model !== model().id && models.some(({ id }) => id === settings.model)) {
    input('model').value = settings.model!;
    chooseModel();
  }
  writeSettings(settings);
});
on('copy-curl', 'click', () => copy(asCurl, 'curl'));
on('copy-ts', 'click', () => copy(asTypeScript, 'TypeScript'));
on('clear', 'click', async () => {
  stage.shelve(await forget(), choose);
  shown = undefined;
  if (!run) stage.clear();
  say('status', 'The gallery is empty.');
  input('prompt').focus();
});

openTheme();
input('key').value = recall('sessionStorage', KEY) ?? '';
await Promise.all([open(), openGallery().then((entries) => stage.shelve(entries, choose))]);
