/**
 * A worker that makes pictures of a random model as the deployed one does (R2, Cache API, the kernels of its bundle), with
 * embeddings from noise, and says what it took: see `open-streaming-worker.ts`.
 */
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { ObjectBuffers } from '@edge-dit/runtime/fetch';
import { fetchShards } from '@edge-dit/runtime/fetch-model';
import { shardKey } from '@edge-dit/runtime/format/keys';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { Meter } from '@edge-dit/runtime/meter';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { type GenerateRequest, Pipeline } from '@edge-dit/runtime/pipeline';
import { type CacheApi, cacheApi } from '@edge-dit/runtime/stores/cache-api';
import { cached } from '@edge-dit/runtime/stores/cached';
import { type R2BucketLike, R2Store } from '@edge-dit/runtime/stores/r2';
import type { Store } from '@edge-dit/runtime/stores/store';
import { sha256Hex } from '@edge-dit/runtime/verify';
import float from '@edge-dit/wasm-kernels/kernels.float.wasm';
import relaxed from '@edge-dit/wasm-kernels/kernels.relaxed.wasm';
import simd from '@edge-dit/wasm-kernels/kernels.simd.wasm';
import type { StreamingAnswer, StreamingRequest } from './open-streaming-worker.ts';

/** That were asked for since the last step. */
let keys: string[] = [];
let kept: { memory: number; pipeline: Pipeline } | undefined;

export default {
  async fetch(request: Request, env: { readonly SHARDS: R2BucketLike }): Promise<Response> {
    const asked = (await request.json()) as StreamingRequest;
    const cache = cacheApi((caches as unknown as { readonly default: CacheApi }).default);
    const store = cached(new R2Store(env.SHARDS, 'SHARDS'), cache);
    try {
      return Response.json('read' in asked ? await read(store, asked) : await generate(store, asked));
    } catch (error) {
      if (!isEdgeDitError(error)) throw error;
      return Response.json({ error: { code: error.code, message: error.message } });
    }
  },
};

async function generate(
  store: Store,
  { model, memory, request }: Extract<StreamingRequest, { request: unknown }>,
): Promise<StreamingAnswer> {
  const counted: Store = {
    ...store,
    get: (key, options) => {
      keys.push(key);
      return store.get(key, options);
    },
  };
  if (kept?.memory !== memory) {
    await kept?.pipeline.close();
    const pipeline = await Pipeline.open({
      store: counted,
      model,
      kernels: { float, simd, relaxed },
      meter: new Meter(memory),
    });
    kept = { memory, pipeline };
  }
  const { pipeline } = kept;
  const { conditioning } = pipeline.manifest.pipeline;
  const row = (seed: number, tokens: number, channels: number) => ({
    count: 1,
    tokens,
    channels,
    data: gaussianNoise(seed, 0, tokens * channels),
    mask: new Int32Array(tokens).fill(1),
  });
  const given: Partial<GenerateRequest> =
    conditioning.type === 'class'
      ? { class: 1 }
      : {
          embedding: {
            prompt: row(1, conditioning.maxTokens, conditioning.channels!),
            negative: row(2, conditioning.maxTokens, conditioning.channels!),
          },
        };
  keys = [];
  const times = [performance.now()];
  const reads: string[][] = [];
  const { values } = await pipeline.generate(
    { ...given, ...request },
    {
      onStep: () => {
        times.push(performance.now());
        reads.push(keys);
        keys = [];
      },
    },
  );
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return {
    sha256: await sha256Hex(bytes),
    engine: pipeline.engine!.name,
    peakBytes: pipeline.meter.peak,
    streaming: pipeline.streaming!,
    stepMs: times.slice(1).map((time, i) => time - times[i]),
    reads: reads.map((of) => of.length),
    lastRead: reads[reads.length - 1],
  };
}

/** Fetches and verifies objects, and does nothing with them. */
async function read(
  store: Store,
  { model, read: wanted, passes }: Extract<StreamingRequest, { read: unknown }>,
): Promise<{ passMs: number[] }> {
  const { manifest } = await loadManifest(store, model);
  const index = new Map(manifest.shards.map(({ sha256 }, i) => [shardKey(sha256), i]));
  const order = wanted.map((key) => index.get(key)!);
  const buffers = new ObjectBuffers(Math.max(...order.map((i) => manifest.shards[i].length)));
  const passMs: number[] = [];
  for (let pass = 0; pass < passes; pass++) {
    const start = performance.now();
    for await (const { release } of fetchShards(store, manifest, { order, buffers })) release();
    passMs.push(performance.now() - start);
  }
  return { passMs };
}
