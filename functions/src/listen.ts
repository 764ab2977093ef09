/** A fetch handler as an HTTP server of Node. In: the handler and where to listen. Out: its address, and how to stop it. */
import type { Server as HttpServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { createAdaptorServer } from '@hono/node-server';

export interface Served {
  readonly url: string;
  /** Stops; requests under way are broken off. */
  close(): Promise<void>;
}

export interface Listening extends Served {
  /** Takes no new requests; those under way have `drainMs` milliseconds to end. */
  close(drainMs?: number): Promise<void>;
}

export interface ListenOptions {
  /** Default 127.0.0.1: reached from this machine only. */
  readonly host?: string;
  /** Default 0: any that is free. */
  readonly port?: number;
  /** A certificate and its key in PEM: https. */
  readonly tls?: { readonly cert: string | Uint8Array; readonly key: string | Uint8Array };
}

export const DEFAULT_HOST = '127.0.0.1';
const HANG_UP_MS = 100;

/** @throws EdgeDitError `invalid-argument` when the address cannot be had */
export async function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  { host = DEFAULT_HOST, port = 0, tls }: ListenOptions = {},
): Promise<Listening> {
  const server = createAdaptorServer(
    tls === undefined ? { fetch } : { fetch, createServer: createTlsServer, serverOptions: secrets(tls) },
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: Error) => reject(cannotListen(host, port, cause)));
    server.listen(port, host, resolve);
  });
  const { port: chosen } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${chosen}`,
    close: (drainMs = 0) =>
      new Promise((resolve) => {
        // The adaptor's type has HTTP/2 in it, which is not what was made above.
        const http = server as HttpServer;
        const late = setTimeout(() => http.closeAllConnections(), drainMs);
        // Clients keep a connection for their next request, which is not taken any more.
        const idle = setInterval(() => http.closeIdleConnections(), HANG_UP_MS);
        server.close(() => {
          clearTimeout(late);
          clearInterval(idle);
          resolve();
        });
      }),
  };
}

function secrets({ cert, key }: NonNullable<ListenOptions['tls']>) {
  const pem = (value: string | Uint8Array) => (typeof value === 'string' ? value : Buffer.from(value));
  return { cert: pem(cert), key: pem(key) };
}

export function cannotListen(host: string, port: number, cause: unknown): EdgeDitError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new EdgeDitError('invalid-argument', `cannot listen on ${host}:${port}: ${reason}; choose another port.`, {
    cause,
  });
}
