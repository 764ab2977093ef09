/** Real workerd with a random model in a local R2 bucket: pictures under a budget of memory, and what they took. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorker } from '@edge-dit/functions/bundle-worker';
import { R2_BUCKET, WORKERD_COMPATIBILITY } from '@edge-dit/functions/serve-workerd';
import type { GenerateRequest } from '@edge-dit/runtime/pipeline';
import type { Streaming } from '@edge-dit/runtime/streaming/prepare-model';
import { Miniflare } from 'miniflare';
import type { RandomModel } from './random-model.ts';

export type StreamingRequest =
  | {
      readonly model: string;
      /** Bytes; another budget is another pipeline. */
      readonly memory: number;
      readonly request: Pick<GenerateRequest, 'seed' | 'steps' | 'guidance'>;
    }
  | { readonly model: string; readonly read: readonly string[]; readonly passes: number };

export interface StreamingAnswer {
  /** Of the values of the picture. */
  readonly sha256: string;
  readonly engine: string;
  readonly peakBytes: number;
  readonly streaming: Streaming;
  readonly stepMs: readonly number[];
  /** Requests to the store in each step; the first has those of the load. */
  readonly reads: readonly number[];
  /** Keys that the last step read. */
  readonly lastRead: readonly string[];
}

export interface StreamingWorker {
  /** @throws Error with the code of a typed error of the worker */
  generate(request: Extract<StreamingRequest, { request: unknown }>): Promise<StreamingAnswer>;
  /** Milliseconds of each pass over shards that are fetched and verified, and not computed with. */
  read(request: Extract<StreamingRequest, { read: unknown }>): Promise<readonly number[]>;
  close(): Promise<void>;
}

/** The worker of `streaming-worker.ts` with these objects in its bucket. */
export async function openStreamingWorker({ objects }: Pick<RandomModel, 'objects'>): Promise<StreamingWorker> {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-streaming-'));
  const entry = fileURLToPath(new URL('streaming-worker.js', import.meta.url));
  const { modules } = await bundleWorker({ entry, outdir: join(folder, 'bundle') });
  const miniflare = new Miniflare({
    ...WORKERD_COMPATIBILITY,
    modules: [...modules],
    modulesRoot: '.',
    r2Buckets: { SHARDS: R2_BUCKET },
    r2Persist: join(folder, 'r2'),
    cachePersist: join(folder, 'cache'),
  });
  const bucket = await miniflare.getR2Bucket('SHARDS');
  for (const [key, bytes] of objects) await bucket.put(key, bytes);
  const ask = async <T>(request: StreamingRequest): Promise<T> => {
    const response = await miniflare.dispatchFetch('http://worker/', { method: 'POST', body: JSON.stringify(request) });
    if (!response.ok) throw new Error(`the worker answered ${response.status}: ${await response.text()}`);
    const answer = (await response.json()) as T & {
      readonly error?: { readonly code: string; readonly message: string };
    };
    if (answer.error) throw new Error(`${answer.error.code}: ${answer.error.message}`);
    return answer;
  };
  return {
    generate: (request) => ask<StreamingAnswer>(request),
    read: async (request) => (await ask<{ passMs: number[] }>(request)).passMs,
    close: async () => {
      await miniflare.dispose();
      await rm(folder, { recursive: true });
    },
  };
}
