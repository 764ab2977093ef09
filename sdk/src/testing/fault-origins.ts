/**
 * The ways in which a model is read when faults are tried: S3 itself, the bucket over plain HTTP, a damaged cache before it,
 * and a gateway nearby with S3 as the last resort. Each reads through fault proxies; versions of the model lie behind.
 */
import { createGateway } from '@edge-dit/functions/gateway/gateway';
import { listen } from '@edge-dit/functions/listen';
import { cached } from '@edge-dit/runtime/stores/cached';
import { GatewayStore } from '@edge-dit/runtime/stores/gateway';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { S3Store } from '@edge-dit/runtime/stores/s3';
import type { Store, WritableStore } from '@edge-dit/runtime/stores/store';
import { storeCache } from '@edge-dit/runtime/stores/store-cache';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { randomBits } from './random-bits.ts';
import { putModel, type RandomModel } from './random-model.ts';

export interface FaultOriginsOptions {
  readonly seed: number;
  readonly rate: number;
  /** What the pointer leads to first, and then. */
  readonly versions: readonly [RandomModel, RandomModel];
  /** A bucket that everybody may read, on a server that speaks S3. Without it: a gateway over memory. */
  readonly s3?: { readonly endpoint: string; readonly bucket: string };
}

export interface FaultOrigins {
  readonly stores: Readonly<Record<string, () => Store>>;
  readonly proxies: readonly FaultProxy[];
  close(): Promise<void>;
}

export async function openFaultOrigins({ seed, rate, versions, s3 }: FaultOriginsOptions): Promise<FaultOrigins> {
  const { model } = versions[0].manifest;
  const closers: (() => Promise<unknown>)[] = [];
  const far: WritableStore = s3 ? new S3Store(s3) : new MemoryStore();
  const serving = s3 ? undefined : await listen(createGateway({ store: far, models: [model], refreshMs: 0 }).fetch);
  if (serving) closers.push(serving.close);
  const upstream = s3?.endpoint ?? serving!.url;
  const path = s3 ? `/${s3.bucket}` : '';
  const proxy = await startFaultProxy({ upstream, seed, rate: 0 });
  closers.push(proxy.close);
  // The proxy sees the first version, to be stale with.
  await putModel(far, versions[0]);
  for (const key of versions[0].objects.keys()) await (await fetch(`${proxy.url}${path}/${key}`)).arrayBuffer();
  await putModel(far, versions[1]);

  const http = new HttpStore(`${proxy.url}${path}`);
  const logger = { error() {} };
  const nearby = await listen(createGateway({ store: http, models: [model], logger }).fetch);
  closers.push(nearby.close);
  const near = await startFaultProxy({ upstream: nearby.url, seed: seed + 1, rate: 0 });
  closers.push(near.close);
  const cache = await damagedCache(seed + 2, rate, versions);
  const proxies = [proxy, near];
  for (const each of proxies) each.rate = rate;
  return {
    stores: {
      ...(s3 && { s3: () => new S3Store({ ...s3, endpoint: proxy.url }) }),
      http: () => http,
      cached: () => cached(http, cache()),
      gateway: () => new GatewayStore([new HttpStore(near.url)], { last: http }),
    },
    proxies,
    close: async () => {
      for (const close of closers.reverse()) await close();
    },
  };
}

/** A cache with an entry for every second shard, of which some are damaged; as new for each load. */
async function damagedCache(seed: number, rate: number, versions: readonly RandomModel[]) {
  const random = randomBits(seed);
  const unit = () => random() / 2 ** 32;
  const shards = versions.flatMap(({ objects }) => [...objects].filter(([key]) => key.startsWith('shards/')));
  return () => {
    const store = new MemoryStore();
    for (const [key, bytes] of shards) {
      if (unit() < 0.5) continue;
      const damaged = bytes.slice(0, unit() < rate ? Math.floor(unit() * bytes.length) : undefined);
      if (unit() < rate) damaged[Math.floor(unit() * damaged.length)] ^= 1;
      store.put(key, damaged);
    }
    return storeCache(store);
  };
}
