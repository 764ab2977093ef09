/** A program of Node, 20 or later: a virtual machine, a container. */
import type { BundleTarget } from './bundle-target.ts';

export const node: BundleTarget = {
  name: 'node',
  summary: 'a program of Node, for machines and containers',
  entry: new URL('../entries/node.js', import.meta.url),
  host: 'server',
  mainName: 'server',
  next: (outdir) => [`SHARDS_URL=./models MODELS=emoji-w4a8 node ${outdir}/server.mjs`],
};
