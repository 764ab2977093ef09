/** workerd as a host: the measuring code as a worker, bundled as deployed workers are, in Miniflare. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorker } from '@edge-dit/functions/bundle-worker';
import { WORKERD_COMPATIBILITY } from '@edge-dit/functions/serve-workerd';
import { Miniflare } from 'miniflare';
import { type HostAnswer, type HostKind, openHost } from './host.ts';

export const workerdHost: HostKind = {
  name: 'workerd',
  async open() {
    const folder = await mkdtemp(join(tmpdir(), 'edge-dit-bench-'));
    const { modules } = await bundleWorker({
      entry: fileURLToPath(new URL('workerd-entry.js', import.meta.url)),
      outdir: folder,
      define: { WORKERD_VERSION: JSON.stringify(workerdVersion()) },
    });
    const miniflare = new Miniflare({ ...WORKERD_COMPATIBILITY, modules: [...modules], modulesRoot: '.' });
    return openHost(
      'workerd',
      async (request) => {
        const response = await miniflare.dispatchFetch('http://bench/', {
          method: 'POST',
          body: JSON.stringify(request),
        });
        return (await response.json()) as HostAnswer;
      },
      async () => {
        await miniflare.dispose();
        await rm(folder, { recursive: true });
      },
    );
  },
};

/** Of the binary that Miniflare runs. */
export function workerdVersion(): string {
  const require = createRequire(createRequire(import.meta.url).resolve('miniflare'));
  return (require('workerd') as { readonly version: string }).version;
}
