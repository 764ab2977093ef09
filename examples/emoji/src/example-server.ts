/**
 * What the examples that serve a model have in common: where it comes from and where to listen, from the command line. Without
 * --store the emoji model is quantized to a folder first.
 */
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { ListenOptions } from '@edge-dit/functions/listen';
import { cached } from '@edge-dit/runtime/stores/cached';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import type { Store } from '@edge-dit/runtime/stores/store';
import { storeCache } from '@edge-dit/runtime/stores/store-cache';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { quantize } from '@edge-dit/sdk/quantize/quantize';
import { recipeByName } from '@edge-dit/sdk/recipes/index';
import { openStore } from '@edge-dit/sdk/stores';

const OPTIONS = {
  store: { type: 'string' },
  model: { type: 'string', default: 'emoji-w4a8' },
  cache: { type: 'string' },
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string' },
  cert: { type: 'string' },
  key: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

const HELP = `  --store PLACE    folder or s3://bucket/prefix; the emoji model in a folder of its own without it
  --model NAME     default emoji-w4a8
  --cache FOLDER   keeps what was fetched from the store
  --host, --port   default 127.0.0.1 and the port below; --host 0.0.0.0 for other devices
  --cert, --key    a certificate and its key in PEM: https, which phones need`;

export interface ExampleServer<Name extends string> {
  readonly store: Store;
  readonly model: string;
  readonly listen: ListenOptions;
  /** Of the options that only this example has: what was given. */
  readonly given: { readonly [N in Name]?: string[] };
  /** Prints where it can be reached. */
  announce(url: string): void;
}

/** @param own options of this example, each with its line of help; they may be repeated */
export async function exampleServer<Name extends string>(
  workspace: string,
  defaultPort: number,
  own: Readonly<Record<Name, string>>,
): Promise<ExampleServer<Name>> {
  const names = Object.keys(own) as Name[];
  const more = Object.fromEntries(names.map((name) => [name, { type: 'string', multiple: true } as const]));
  const { values } = parseArgs({ options: { ...OPTIONS, ...more } });
  const { help, store: place, model, cache, host, port = String(defaultPort), cert, key } = values as Values;
  if (help) {
    const lines = names.map((name) => `  --${name.padEnd(14)} ${own[name]}`);
    console.log(
      [`npm start --workspace ${workspace} -- [options]\n`, HELP, ...lines, `\nPort: ${defaultPort}`].join('\n'),
    );
    process.exit(0);
  }
  const origin = place === undefined ? await emojiStore(model) : openStore(place);
  const onError = (error: unknown) => console.error('cache:', error);
  const store = cache === undefined ? origin : cached(origin, storeCache(new FsStore(cache)), { onError });
  const tls = cert && key ? { cert: await readFile(cert), key: await readFile(key) } : undefined;
  return {
    store,
    model,
    listen: { host, port: Number(port), tls },
    given: values as { [N in Name]?: string[] },
    announce: (url) => {
      console.log(`${model} at ${url}; Ctrl-C stops it`);
      if (host !== '0.0.0.0') return;
      for (const { address, family, internal } of Object.values(networkInterfaces()).flatMap((list) => list ?? [])) {
        if (family === 'IPv4' && !internal) console.log(`  from other devices: ${url.replace('0.0.0.0', address)}`);
      }
    },
  };
}

interface Values {
  readonly help: boolean;
  readonly store?: string;
  readonly model: string;
  readonly cache?: string;
  readonly host: string;
  readonly port?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** The model of this example, quantized to 4 bits; what is published already is not sent again. */
export async function emojiStore(model: string): Promise<FsStore> {
  const example = new URL('..', import.meta.url);
  const store = new FsStore(fileURLToPath(new URL('.edge-dit/store', example)));
  const checkpoint = await openCheckpoint(fileURLToPath(new URL('model', example)));
  console.error('quantizing the emoji model to 4 bits, once');
  await quantize({ checkpoint, recipe: recipeByName('w4a8'), model, store, defaults: { steps: 20, guidance: 3 } });
  await checkpoint.close();
  return store;
}
