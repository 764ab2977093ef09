/** Cloudflare Workers: an isolate of V8 with an R2 bucket. */
import type { BundleTarget } from './bundle-target.ts';

export const cloudflareWorkers: BundleTarget = {
  name: 'cloudflare-workers',
  summary: 'Cloudflare Workers, and workerd',
  entry: new URL('../targets/cloudflare-workers.js', import.meta.url),
  host: 'isolate',
  mainName: 'worker',
  // Of the paid plan. onnxruntime alone is more than the free plan's 3 MB, which has too little CPU time for a picture anyway.
  maxGzipBytes: 10_000_000,
  next: () => ['npx wrangler deploy   # with the wrangler.jsonc that "edge-dit init" writes'],
};
