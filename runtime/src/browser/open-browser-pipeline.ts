/**
 * A model in a browser, in a page or a worker: addresses in, a pipeline out. Shards come from the nearest gateway or from a
 * bucket, are verified, and stay in the browser's private files; what broke off goes on; without a network what was
 * loaded works as before. The engine is the fastest that the browser has. Prompts are embedded by an endpoint or here.
 */
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { spawnWebThread } from '@edge-dit/wasm-kernels/threads/web';
import { chooseEngine, type EngineChoice } from '../engines/choose-engine.ts';
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import { fetchFile } from '../fetch-model.ts';
import type { Manifest } from '../format/manifest.ts';
import { Meter } from '../meter.ts';
import { createOrtRuntime } from '../onnx/ort-web.ts';
import { type LoadHooks, Pipeline } from '../pipeline.ts';
import { type CacheLike, cached } from '../stores/cached.ts';
import { GatewayStore } from '../stores/gateway.ts';
import { HttpStore } from '../stores/http.ts';
import { type OpfsCache, openOpfsCache } from '../stores/opfs.ts';
import { openOpfsParts } from '../stores/opfs-parts.ts';
import type { Parts } from '../stores/parts.ts';
import { remembered } from '../stores/remembered.ts';
import { resumable } from '../stores/resumable.ts';
import type { Store } from '../stores/store.ts';
import type { TextEncoder } from '../text/conditioning.ts';
import { embeddingCache } from '../text/embedding-cache.ts';
import { firstTextEncoder, remoteTextEncoder } from '../text/remote-text-encoder.ts';
import type { TrustPolicy } from '../trust.ts';
import { StoredModels } from './stored-models.ts';

/** Where prompts are embedded: by the endpoint, here, or here where the endpoint fails. */
export type TextPlace = 'edge' | 'device' | 'edge-or-device';

/** What can be sent to a worker. */
export interface BrowserOptions {
  readonly model: string;
  /** Addresses of gateways or of published stores; the nearest by measured latency is taken. */
  readonly near: readonly string[];
  /** Of a public bucket, for when none of them answers. */
  readonly last?: string;
  readonly trust?: TrustPolicy;
  /** Bytes for everything that the runtime holds. Default 512 MiB: phones give a page less than computers do. */
  readonly budget?: number;
  readonly engine?: EngineChoice['engine'];
  /** Of the engine, the calling one included. Default: the processor's, at most 4, in an isolated worker; else 1. */
  readonly threads?: number;
  /** `keep`, the default, where the browser has private files; `none`: nothing is left in the browser. */
  readonly storage?: 'keep' | 'none';
  /** Whether models that were not used for longest may be deleted where there is no room. Default false. */
  readonly evict?: boolean;
  /** Address of an endpoint that embeds prompts. */
  readonly endpoint?: string;
  /** Sent to it, for example `authorization`. */
  readonly endpointHeaders?: Readonly<Record<string, string>>;
  /** Default `edge` with an endpoint, else `device`. */
  readonly text?: TextPlace;
  /** Address of `ort-wasm-simd-threaded.wasm`, where prompts are embedded or latents decoded here. */
  readonly onnxruntime?: string;
}

export interface BrowserPipeline {
  readonly pipeline: Pipeline;
  /** What the caller may want to know: models that were deleted, answers of yesterday, what could not be stored. */
  readonly notes: readonly string[];
  /** What the browser keeps, where it does. */
  readonly stored: StoredModels | undefined;
  /** What `load` fetches, for `loadProgress`: shards, then files as if they were shards. */
  readonly parts: Pick<Manifest, 'shards'>;
  /** Fetches and prepares all that generating needs; then no network is needed, except for prompts that only an endpoint embeds. */
  load(hooks?: LoadHooks): Promise<void>;
}

const BUDGET_BYTES = 512 * 2 ** 20;
const MOST_THREADS = 4;

interface Folders {
  readonly objects: OpfsCache;
  readonly parts: Parts;
  readonly answers: OpfsCache;
  readonly records: OpfsCache;
  readonly embeddings: OpfsCache;
}

/** @throws EdgeDitError what `Pipeline.open` raises; `storage-full` before anything large is fetched */
export async function openBrowserPipeline(options: BrowserOptions, signal?: AbortSignal): Promise<BrowserPipeline> {
  const { model, storage = 'keep', trust, engine, evict = false } = options;
  const notes: string[] = [];
  const note = (text: string) => {
    if (!notes.includes(text)) notes.push(text);
  };
  const folders = storage === 'keep' ? await openFolders(note) : undefined;
  const store = storeOf(options, folders, note);
  const text = textPlace(options);
  const pipeline = await Pipeline.open({
    store,
    model,
    trust,
    signal,
    kernels: await compileKernels(),
    meter: new Meter(options.budget ?? BUDGET_BYTES),
    openEngine: chooseEngine({ engine, threads: threadsOf(options.threads) }),
    onnx: (meter) => onnxOf(options.onnxruntime, meter),
    wrapEncoder: (own, manifest) => encoderOf({ own, manifest, text, options, note, embeddings: folders?.embeddings }),
  });
  const { manifest, digest } = pipeline;
  const files = filesNeeded(manifest, text);
  const records = manifest.files.filter(({ name }) => files.includes(name));
  const parts = { shards: [...manifest.shards, ...records] };
  const stored = folders && new StoredModels(folders.objects, folders.records);
  if (stored !== undefined) {
    const evicted = await stored.admit({ manifest, digest, files }, { evict });
    for (const gone of evicted) note(`${gone.model} was deleted from this browser to make room`);
    // Without it a browser may delete all of it when space is short. It may refuse, which costs a download some day.
    await navigator.storage.persist?.();
  }
  const loadAll = async (hooks: LoadHooks) => {
    await pipeline.load(hooks);
    for (const [i, record] of records.entries()) {
      const { release } = await fetchFile(store, record, { ...hooks, meter: pipeline.meter });
      release();
      hooks.onShard?.(manifest.shards.length + i);
    }
    if (text !== 'edge' && options.onnxruntime !== undefined) await bytesOf(options.onnxruntime);
    await stored?.tidy();
    await folders?.parts.clear();
  };
  const load = async (hooks: LoadHooks = {}) => {
    if (folders === undefined || navigator.locks === undefined) return loadAll(hooks);
    // Of two tabs one downloads; the other one waits, and finds all of it in files.
    const message = 'loading was cancelled while another tab loaded the same model.';
    await navigator.locks
      .request(`edge-dit/${digest}`, { signal: hooks.signal }, () => loadAll(hooks))
      .catch((cause) => {
        throw isEdgeDitError(cause) || !hooks.signal?.aborted ? cause : new EdgeDitError('aborted', message, { cause });
      });
  };
  return { pipeline, notes, stored, parts, load };
}

async function openFolders(note: (text: string) => void): Promise<Folders | undefined> {
  if (globalThis.navigator?.storage?.getDirectory === undefined) {
    note('nothing is kept in this browser: private files need https, or localhost');
    return undefined;
  }
  const [objects, answers, records, embeddings] = await Promise.all(
    ['objects', 'answers', 'models', 'embeddings'].map((name) => openOpfsCache(`edge-dit/${name}`)),
  );
  return { objects, answers, records, embeddings, parts: await openOpfsParts('edge-dit/parts') };
}

function storeOf({ near, last }: BrowserOptions, folders: Folders | undefined, note: (text: string) => void): Store {
  const origins = new GatewayStore(
    near.map((address) => new HttpStore(address)),
    { last: last === undefined ? undefined : new HttpStore(last) },
  );
  if (folders === undefined) return origins;
  const onError = (error: unknown) => note(`could not be kept in this browser: ${messageOf(error)}`);
  const kept = cached(resumable(origins, folders.parts, { onError }), folders.objects, { onError });
  const onRemembered = (_key: string, reason: unknown) =>
    note(`the model is that of the last visit: ${messageOf(reason)}`);
  return remembered(kept, folders.answers, { onError, onRemembered });
}

function threadsOf(asked: number | undefined): EngineChoice['threads'] {
  const isWorker = typeof document === 'undefined';
  const possible = isWorker && globalThis.crossOriginIsolated === true;
  const threads = asked ?? (possible ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1);
  if (threads < 2) return undefined;
  return { threads, spawn: spawnWebThread, kernels: () => compileKernels({ shared: true }) };
}

function textPlace({ endpoint, text = endpoint === undefined ? 'device' : 'edge' }: BrowserOptions): TextPlace {
  if (text === 'device' || endpoint !== undefined) return text;
  throw new EdgeDitError('invalid-argument', `text: ${text} needs the address of an endpoint that embeds prompts.`);
}

/** Of the auxiliary files, those that are read here. */
function filesNeeded({ pipeline: { conditioning, vae } }: Manifest, text: TextPlace): string[] {
  const encoder =
    conditioning.type === 'text' && text !== 'edge' ? [conditioning.tokenizer, conditioning.textEncoder] : [];
  return [...encoder, vae?.decoder].filter((name) => name !== undefined);
}

interface Encoders {
  readonly own: TextEncoder;
  readonly manifest: Manifest;
  readonly text: TextPlace;
  readonly options: BrowserOptions;
  readonly embeddings: CacheLike | undefined;
  readonly note: (text: string) => void;
}

/** Prompts that were embedded once are remembered, wherever it was done. */
function encoderOf({ own, manifest, text, options, embeddings, note }: Encoders): TextEncoder {
  const remote = () => remoteTextEncoder(options.endpoint!, manifest, { headers: options.endpointHeaders });
  const onPassedOver = (reason: unknown) => note(`the prompt was embedded on this device: ${messageOf(reason)}`);
  const encoder =
    text === 'device' ? own : text === 'edge' ? remote() : firstTextEncoder([remote(), own], onPassedOver);
  return embeddings === undefined ? encoder : embeddingCache(encoder, manifest, embeddings);
}

function onnxOf(address: string | undefined, meter: Meter) {
  let wasmBinary: ArrayBuffer | undefined;
  const runtime = createOrtRuntime(
    {
      configure: (wasm) => {
        wasm.wasmBinary = wasmBinary;
      },
    },
    meter,
  );
  return {
    load: async (bytes: Uint8Array, name: string) => {
      if (address === undefined) {
        throw new EdgeDitError('invalid-argument', `${name} needs onnxruntime: give the address of its .wasm file.`);
      }
      wasmBinary ??= await bytesOf(address);
      return runtime.load(bytes, name);
    },
  };
}

async function bytesOf(address: string): Promise<ArrayBuffer> {
  const response = await fetch(address).catch((cause) => {
    throw new EdgeDitError('store-failed', `${address}: ${messageOf(cause)}`, { cause });
  });
  if (!response.ok) throw new EdgeDitError('store-failed', `${address}: ${response.status}`);
  return response.arrayBuffer();
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
