/** What hosts read while they are measured: a store, and ONNX files by name. Only for this machine, only for a while. */
import { randomUUID } from 'node:crypto';
import { listen } from '@edge-dit/functions/listen';
import type { Store } from '@edge-dit/runtime/stores/store';

export interface ArtifactServer {
  /** Base of an HTTP store. */
  readonly storeUrl: string;
  fileUrl(name: string): string;
  close(): Promise<void>;
}

/** @param files by name */
export async function serveArtifacts(
  store: Store,
  files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>,
): Promise<ArtifactServer> {
  // Other programs of this machine do not know it, so the server is no way into the store for them.
  const secret = randomUUID();
  // A page of another origin may read it.
  const headers = { 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' };
  const { url, close } = await listen(async (request) => {
    const [, given, kind, ...rest] = new URL(request.url).pathname.split('/');
    const name = rest.join('/');
    if (request.method === 'OPTIONS') {
      return new Response(null, { headers: { ...headers, 'access-control-allow-headers': '*' } });
    }
    if (given === secret && kind === 'store') {
      const object = await store.get(name);
      if (object) return new Response(object.body, { headers });
    }
    const file = files.get(name);
    if (given === secret && kind === 'files' && file) return new Response(file, { headers });
    return new Response('Not Found', { status: 404, headers });
  });
  return { storeUrl: `${url}/${secret}/store`, fileUrl: (name) => `${url}/${secret}/files/${name}`, close };
}
