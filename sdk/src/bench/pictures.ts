/**
 * Whole pictures by the endpoint in workerd, as a client sees them: a new isolate with empty caches, a new isolate whose
 * caches hold the shards (and the embedding, or not), and an isolate that has all. Also how long a worker takes to start.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleCloudflareWorker, serveWorkerd, WORKERD_COMPATIBILITY } from '@edge-dit/functions/serve-workerd';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import type { Store } from '@edge-dit/runtime/stores/store';
import { Miniflare } from 'miniflare';

export const PICTURE_STATES = ['cold', 'cold-isolate', 'cold-isolate-new-prompt', 'warm'] as const;
/**
 * `cold`: nothing is cached. `cold-isolate`: shards and the prompt's embedding are in the Cache API.
 * `cold-isolate-new-prompt`: shards are, the embedding is not. `warm`: the isolate has made a picture of that prompt.
 */
export type PictureState = (typeof PICTURE_STATES)[number];

export interface PictureSample {
  readonly state: PictureState;
  /** From request to the last byte, by the client's clock. */
  readonly totalMs: number;
  /** As the endpoint says in `server-timing`. */
  readonly timings: Readonly<Record<string, number>>;
  /** Of the meter, of that isolate up to then. */
  readonly peakBytes: number;
  readonly engine: string;
}

export interface PicturesResult {
  readonly steps: number;
  readonly guidance: number;
  readonly samples: readonly PictureSample[];
}

const STEPS = 20;
const GUIDANCE = 3;
const PROMPTS = ['red apple, fluent 3d style', 'blue car, fluent 3d style'];

/** Why a model's pictures cannot be asked for by name alone; undefined when they can. */
export function cannotPicture({ pipeline: { conditioning } }: Manifest): string | undefined {
  if (conditioning.type === 'class' || conditioning.textEncoder) return undefined;
  return 'the model has no text encoder, so a request would need an embedding';
}

export async function measurePictures(
  store: Store,
  model: string,
  manifest: Manifest,
  rounds: number,
  onRound: (done: number) => void,
): Promise<PicturesResult> {
  const samples: PictureSample[] = [];
  const [first, second] =
    manifest.pipeline.conditioning.type === 'class'
      ? [{ class: 0 }, { class: 0 }]
      : PROMPTS.map((prompt) => ({ prompt }));
  for (let round = 0; round < rounds; round++) {
    const cacheFolder = await mkdtemp(join(tmpdir(), 'edge-dit-bench-cache-'));
    try {
      const within = async (work: (url: string) => Promise<void>) => {
        const { url, close } = await serveWorkerd({ store, models: [model], cacheFolder, logLevel: 'error' });
        try {
          await work(url);
        } finally {
          await close();
        }
      };
      await within(async (url) => void samples.push(await picture(url, first, 'cold')));
      await within(async (url) => void samples.push(await picture(url, first, 'cold-isolate')));
      await within(async (url) => {
        samples.push(await picture(url, second, 'cold-isolate-new-prompt'));
        samples.push(await picture(url, second, 'warm'));
      });
    } finally {
      await rm(cacheFolder, { recursive: true, force: true });
    }
    onRound(round + 1);
  }
  return { steps: STEPS, guidance: GUIDANCE, samples };
}

async function picture(url: string, condition: object, state: PictureState): Promise<PictureSample> {
  const body = JSON.stringify({ ...condition, seed: 1, steps: STEPS, guidance: GUIDANCE });
  const start = performance.now();
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  const bytes = await response.arrayBuffer();
  const totalMs = performance.now() - start;
  if (!response.ok) throw new Error(`POST /generate: ${response.status} ${new TextDecoder().decode(bytes)}`);
  const { headers } = response;
  const entries = [...(headers.get('server-timing') ?? '').matchAll(/(\w+);dur=([\d.]+)/g)];
  return {
    state,
    totalMs,
    timings: Object.fromEntries(entries.map(([, name, ms]) => [name, Number(ms)])),
    peakBytes: Number(headers.get('x-memory-peak')),
    engine: headers.get('x-engine') ?? '',
  };
}

export interface StartupResult {
  /** Milliseconds that a running isolate takes to compile and evaluate the worker's modules. */
  readonly modules: readonly number[];
  // Milliseconds from nothing to the first answer, of workerd with
  /** the worker as it is deployed, */
  readonly worker: readonly number[];
  /** a worker that does nothing, and carries the same modules, onnxruntime's 14 MB of WebAssembly among them, */
  readonly carrying: readonly number[];
  /** one that does nothing and carries nothing. */
  readonly empty: readonly number[];
}

const EMPTY = 'export default { fetch: () => new Response("ok") };';
/** workerd's clock advances while it computes, in steps of 1 ms. */
const TIMER = `export default {
  async fetch() {
    const start = performance.now();
    await import('./worker.js');
    return Response.json(performance.now() - start);
  },
};`;

export async function measureStartup(model: string, rounds: number): Promise<StartupResult> {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-bench-worker-'));
  try {
    const { modules } = await bundleCloudflareWorker(folder);
    const empty = { type: 'ESModule' as const, path: 'empty.js', contents: EMPTY };
    const timer = { type: 'ESModule' as const, path: 'timer.js', contents: TIMER };
    const result = { modules: [] as number[], worker: [] as number[], carrying: [] as number[], empty: [] as number[] };
    for (let round = 0; round < rounds + 1; round++) {
      const { ms: worker } = await startOf(model, [...modules]);
      const { ms: carrying } = await startOf(model, [empty, ...modules]);
      const { ms: alone } = await startOf(model, [empty]);
      const { answer } = await startOf(model, [timer, ...modules]);
      // The first round finds the binary and the files on disk, the others in memory.
      if (round === 0) continue;
      result.modules.push(Number(answer));
      result.worker.push(worker);
      result.carrying.push(carrying);
      result.empty.push(alone);
    }
    return result;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Modules = Extract<ConstructorParameters<typeof Miniflare>[0], { modules?: unknown }>['modules'];

async function startOf(model: string, modules: Modules): Promise<{ ms: number; answer: string }> {
  const bindings = { MODELS: model, SHARDS_URL: 'http://127.0.0.1:9/', LOG: 'error' };
  const start = performance.now();
  const miniflare = new Miniflare({ ...WORKERD_COMPATIBILITY, modules, modulesRoot: '.', bindings });
  try {
    const answer = await (await miniflare.dispatchFetch('http://bench/healthz')).text();
    return { ms: performance.now() - start, answer };
  } finally {
    await miniflare.dispose();
  }
}
