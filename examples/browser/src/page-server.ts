/**
 * The page, a gateway for its model and an endpoint, on one server of Node. In: a store, the model in it, and where to listen.
 * Out: the address. With a certificate it speaks https, which a phone needs: browsers keep files in secure contexts only.
 */
import { createApp } from '@edge-dit/functions/app';
import { createGateway, type GatewayOptions } from '@edge-dit/functions/gateway/gateway';
import { type ListenOptions, listen, type Served } from '@edge-dit/functions/listen';
import { ModelHost } from '@edge-dit/functions/model-host';
import { consoleLog } from '@edge-dit/functions/observe/log';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { Hono } from 'hono';
import { bundlePage, type PageFiles } from './bundle-page.ts';
import type { PageSettings } from './page/settings.ts';

export interface PageServerOptions extends Pick<GatewayOptions, 'store' | 'cors'>, ListenOptions {
  readonly model: string;
  /** Addresses of other gateways and of a public bucket, and of another endpoint; this server is both without them. */
  readonly near?: readonly string[];
  readonly last?: string;
  readonly endpoint?: string;
  /** When the page asks the next place: see `PageSettings`. */
  readonly patienceMs?: PageSettings['patienceMs'];
  /** Default: the page of this example. */
  readonly files?: PageFiles;
}

/** A GPU compiles its kernels before the first step; an endpoint says nothing before its answer, which may have to load first. */
const PATIENCE_MS = { device: 120_000, endpoint: 60_000 };

/** Isolated from other origins, so that the browser lets it share memory among threads; nothing but itself runs in it. */
const HEADERS = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy':
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src * blob:; img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
};

export async function servePage(options: PageServerOptions): Promise<Served> {
  const { store, model, near = [], last, endpoint = '', cors, host, port, tls } = options;
  const files = options.files ?? (await bundlePage());
  const models = new ModelHost({
    models: [model],
    pipeline: { store, kernels: await compileKernels(), onnx: createNodeOrtRuntime },
  });
  const settings: PageSettings = { model, near, last, endpoint, patienceMs: options.patienceMs ?? PATIENCE_MS };
  const app = new Hono();
  app.get('/page.json', (c) => c.json(settings, 200, HEADERS));
  for (const [path, { type, body }] of files) {
    app.get(path, () => new Response(body, { headers: { ...HEADERS, 'content-type': type } }));
  }
  app.route(
    '/',
    createApp({ models, log: consoleLog('error'), gateway: createGateway({ store, models: [model], cors }) }),
  );
  const served = await listen(app.fetch, { host, port, tls });
  const close = async () => {
    await served.close();
    await models.close();
  };
  return { ...served, close };
}
