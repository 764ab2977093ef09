/** Deno 2, on a machine and on Deno Deploy. */
import type { BundleTarget } from './bundle-target.ts';

export const deno: BundleTarget = {
  name: 'deno',
  summary: 'Deno and Deno Deploy',
  entry: new URL('../entries/deno.js', import.meta.url),
  host: 'server',
  mainName: 'server',
  next: (outdir) => [
    `SHARDS_URL=./models MODELS=emoji-w4a8 deno serve --host 127.0.0.1 --allow-env --allow-read --allow-net ${outdir}/server.mjs`,
  ],
};
