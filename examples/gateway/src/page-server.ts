/**
 * A gateway and a page on one server of Node. In: a store, the model in it, and where to listen. Out: the address. With a
 * certificate it speaks https, which a phone needs: browsers verify and keep files in secure contexts only.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorker } from '@edge-dit/functions/bundle-worker';
import { createGateway, type GatewayOptions } from '@edge-dit/functions/gateway/gateway';
import { listen, type Served } from '@edge-dit/functions/listen';
import { VARIANTS } from '@edge-dit/wasm-kernels';
import { assembleKernels } from '@edge-dit/wasm-kernels/assemble';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';

export interface PageServerOptions extends Pick<GatewayOptions, 'store' | 'cors'> {
  readonly model: string;
  readonly host?: string;
  readonly port?: number;
  /** Address of a public bucket, which the page asks when no gateway answers. */
  readonly last?: string;
  /** In PEM. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
  /** Of the page; default the one of this example. */
  readonly entry?: URL;
}

const PAGE = `<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>edge-dit</title>
<style>
  body { font: 1rem system-ui; max-width: 32rem; margin: 2rem auto; padding: 0 1rem }
  form { display: flex; gap: .5rem; flex-wrap: wrap }
  #prompt { flex: 1 1 60% } #seed { width: 5rem }
  canvas { width: 100%; image-rendering: pixelated; margin-top: 1rem }
</style>
<form id="form">
  <input id="prompt" value="red apple, fluent 3d style" aria-label="prompt">
  <input id="seed" type="number" min="0" value="1" aria-label="seed">
  <button id="draw">Draw</button>
</form>
<p id="say" role="status">opening</p>
<canvas id="picture" width="128" height="128"></canvas>
<script type="module" src="/worker.js"></script>
`;

export async function servePage(options: PageServerOptions): Promise<Served> {
  const { store, model, last, cors, host, port, tls } = options;
  const app = new Hono();
  const files = await pageFiles(options.entry ?? new URL('page.js', import.meta.url));
  app.get('/', (c) => c.html(PAGE));
  app.get('/page.json', (c) => c.json({ model, last }));
  for (const [path, { type, body }] of files) {
    app.get(path, () => new Response(body, { headers: { 'content-type': type, 'cache-control': 'no-cache' } }));
  }
  app.route('/', createGateway({ store, models: [model], cors }));
  return tls === undefined ? listen(app.fetch, { host, port }) : listenTls(app, { ...tls, host, port });
}

type PageFile = { readonly type: string; readonly body: Uint8Array<ArrayBuffer> };

async function pageFiles(entry: URL): Promise<Map<string, PageFile>> {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-page-'));
  try {
    const { modules } = await bundleWorker({ entry: fileURLToPath(entry), outdir: folder });
    const ort = createRequire(import.meta.url).resolve('onnxruntime-web/ort-wasm-simd-threaded.wasm');
    const wasm = (body: Uint8Array<ArrayBuffer>) => ({ type: 'application/wasm', body });
    return new Map<string, PageFile>([
      ...modules.map(({ path, contents }) => [`/${path}`, { type: 'text/javascript', body: contents }] as const),
      ['/onnxruntime.wasm', wasm(new Uint8Array(await readFile(ort)))],
      ['/kernels.float.wasm', wasm(assembleKernels('float'))],
      ...VARIANTS.map((variant) => [`/kernels.${variant}.wasm`, wasm(assembleKernels(variant))] as const),
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

interface TlsOptions {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly host?: string;
  readonly port?: number;
}

async function listenTls(app: Hono, { cert, key, host = '127.0.0.1', port = 0 }: TlsOptions): Promise<Served> {
  const server = createAdaptorServer({ fetch: app.fetch, createServer, serverOptions: { cert, key } });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const close = () => new Promise<void>((resolve) => void server.close(() => resolve()));
  return { url: `https://${host}:${(server.address() as AddressInfo).port}`, close };
}
