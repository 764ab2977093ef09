/**
 * Serves a model and the page that draws with it, from a store that this machine can read: a folder or S3, with a folder as
 * a cache. Without --store the emoji model is quantized to a folder first.
 */
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cached } from '@edge-dit/runtime/stores/cached';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { storeCache } from '@edge-dit/runtime/stores/store-cache';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { quantize } from '@edge-dit/sdk/quantize/quantize';
import { recipeByName } from '@edge-dit/sdk/recipes/index';
import { openStore } from '@edge-dit/sdk/stores';
import { servePage } from './page-server.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string' },
    model: { type: 'string', default: 'emoji-w4a8' },
    cache: { type: 'string' },
    last: { type: 'string' },
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '8788' },
    cert: { type: 'string' },
    key: { type: 'string' },
  },
});
const example = fileURLToPath(new URL('..', import.meta.url));
const { model, host, last, cert, key } = values;

async function emojiStore(): Promise<FsStore> {
  const store = new FsStore(join(example, '.edge-dit/store'));
  const checkpoint = await openCheckpoint(join(example, '../emoji/model'));
  console.log('quantizing the emoji model to 4 bits, once');
  await quantize({ checkpoint, recipe: recipeByName('w4a8'), model, store, defaults: { steps: 20, guidance: 3 } });
  await checkpoint.close();
  return store;
}

const origin = values.store === undefined ? await emojiStore() : openStore(values.store);
const onError = (error: unknown) => console.error('cache:', error);
const store = values.cache === undefined ? origin : cached(origin, storeCache(new FsStore(values.cache)), { onError });
const tls =
  cert !== undefined && key !== undefined ? { cert: await readFile(cert), key: await readFile(key) } : undefined;
const { url } = await servePage({ store, model, last, host, port: Number(values.port), tls });
console.log(`${model} at ${url}; Ctrl-C stops it`);
if (host === '0.0.0.0') {
  for (const { address, family, internal } of Object.values(networkInterfaces()).flatMap((list) => list ?? [])) {
    if (family === 'IPv4' && !internal) console.log(`  from other devices: ${url.replace('0.0.0.0', address)}`);
  }
}
