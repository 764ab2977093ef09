/** The page: a prompt in, a picture out, made here or at the endpoint, in the order that was chosen. */
import { devicePlace, endpointPlace, generateAt, type Place } from '@edge-dit/runtime/browser/places';
import type { Loaded, Progress } from '@edge-dit/runtime/browser/protocol';
import { type CallHooks, WorkerClient } from '@edge-dit/runtime/browser/worker-client';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import type { PageSettings } from './settings.ts';
import { type Policy, view } from './view.ts';

const PREVIEW_SIDE = 128;

const client = new WorkerClient(new Worker('/worker.js', { type: 'module', name: 'edge-dit' }));
const settings = (await (await fetch('/page.json')).json()) as PageSettings;
const here = location.origin;
const endpoint = new URL(settings.endpoint, here).href;

let loaded: { readonly as: string; readonly model: Loaded } | undefined;
let evict = false;
let running: AbortController | undefined;

/** Loads the model, unless it is there as it is wanted now. */
async function ready(hooks: CallHooks): Promise<Loaded> {
  const as = JSON.stringify([view.engine, view.text]);
  if (loaded?.as === as) return loaded.model;
  loaded = undefined;
  const { model, near, last } = settings;
  const options = { model, near: [here, ...near], last, endpoint, engine: view.engine, text: view.text, evict };
  const opened = await client.load({ ...options, onnxruntime: `${here}/onnxruntime.wasm` }, hooks);
  loaded = { as, model: opened };
  evict = false;
  show(opened);
  return opened;
}

function show({ engine, notes }: Loaded): void {
  view.place(`${engine.name} on this device`);
  view.notes([...engine.notes, ...notes]);
  void listModels();
}

async function listModels(): Promise<void> {
  const models = await client.models().catch(() => []);
  view.models(models, async (model) => {
    await client.remove(model);
    if (loaded?.model.model === model) loaded = undefined;
    await listModels();
  });
}

function places(policy: Policy): Place[] {
  const { patienceMs } = settings;
  const device = devicePlace(client, ready, { patienceMs: patienceMs.device, previewSide: PREVIEW_SIDE });
  const edge = endpointPlace('the endpoint', endpoint, { patienceMs: patienceMs.endpoint, model: settings.model });
  return { 'device-first': [device, edge], 'endpoint-first': [edge, device], device: [device], endpoint: [edge] }[
    policy
  ];
}

function onProgress(progress: Progress): void {
  if (progress.kind === 'load') {
    const { bytes, totalBytes, etaMs } = progress;
    const left = etaMs === undefined || bytes === totalBytes ? '' : `, ${Math.ceil(etaMs / 1000)} s left`;
    view.progress(bytes / totalBytes);
    view.say(`Loading the model: ${(bytes / 1e6).toFixed(1)} of ${(totalBytes / 1e6).toFixed(1)} MB${left}`);
    return;
  }
  const { step, steps, preview } = progress;
  view.progress(step / steps);
  view.say(`Step ${step} of ${steps}`);
  if (preview) view.picture(preview, `The picture after step ${step}`);
}

/** One thing at a time; what fails is said. */
async function work(doing: (hooks: CallHooks) => Promise<void>): Promise<void> {
  running?.abort();
  const controller = new AbortController();
  running = controller;
  view.busy(true);
  view.problem(undefined);
  try {
    await doing({ signal: controller.signal, onProgress });
  } catch (error) {
    if (isEdgeDitError(error, 'aborted')) view.say('Cancelled.');
    else {
      view.say('');
      view.problem(error instanceof Error ? error.message : String(error), isEdgeDitError(error, 'storage-full'));
    }
  } finally {
    running = undefined;
    view.busy(false);
  }
}

async function draw(hooks: CallHooks): Promise<void> {
  const { asked } = view;
  const start = performance.now();
  view.say('Embedding the prompt.');
  const made = await generateAt(places(view.policy), asked, hooks);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const caption = `${asked.prompt} · ${made.seed} · ${seconds} s, ${made.engine}`;
  await view.png(made.png, asked.prompt, caption);
  if (made.passedOver.some(({ code }) => code === 'storage-full'))
    view.problem('This browser has no room for the model.', true);
  const why = made.passedOver.map(({ place, reason }) => ` Not made on ${place}: ${reason}`).join('');
  const held = made.heldBytes === undefined ? '' : `, which holds ${(made.heldBytes / 1e6).toFixed(1)} MB`;
  view.say(`Made on ${made.place} in ${seconds} s with ${made.engine}${held}.${why}`);
  if (made.notes) view.notes(made.notes);
  if (made.place !== 'this device') view.place(`${made.engine} at ${made.place}`);
  else if (loaded) view.place(`${made.engine} on this device`);
}

async function load(hooks: CallHooks): Promise<void> {
  await ready(hooks);
  view.say('The model is on this device.');
}

view.start();
view.onDraw(() => void work(draw));
view.on('dice', () => {
  view.rollDice();
  void work(draw);
});
view.on('load', () => void work(load));
view.on('cancel', () => running?.abort());
view.on('make-room', () => {
  evict = true;
  void work(load);
});

if ('serviceWorker' in navigator) {
  await navigator.serviceWorker
    .register('/service-worker.js')
    .catch((error) => console.warn('no service worker:', error));
}
const stored = await client.models().catch(() => []);
await listModels();
view.place('ready');
// What is here already costs no download.
if (stored.some(({ model }) => model === settings.model)) await work(load);
else view.say('The first picture loads the model, about 13 MB; after that none is needed.');
