/** A store's objects in, a local R2 bucket out, as Miniflare and `wrangler dev` keep it in a folder: for `serveWorkerd`. */
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { Miniflare } from 'miniflare';
import { R2_BUCKET, WORKERD_COMPATIBILITY } from './serve-workerd.ts';

/** Copies every object; those of the same key are replaced. */
export async function copyToLocalR2(store: WritableStore, folder: string): Promise<void> {
  const miniflare = new Miniflare({
    ...WORKERD_COMPATIBILITY,
    modules: true,
    script: 'export default { fetch: () => new Response() }',
    r2Buckets: { SHARDS: R2_BUCKET },
    r2Persist: folder,
  });
  try {
    const bucket = await miniflare.getR2Bucket('SHARDS');
    for await (const { key } of store.list('')) {
      const object = await store.get(key);
      // Deleted since it was listed.
      if (object === undefined) continue;
      const bytes = await new Response(object.body as BodyInit).arrayBuffer();
      await bucket.put(key, new Uint8Array(bytes));
    }
  } finally {
    await miniflare.dispose();
  }
}
