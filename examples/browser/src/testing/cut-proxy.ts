/** For tests: a server in front of the page's that counts the bytes of models, is as slow as a network, and can be cut. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface CutProxy {
  readonly url: string;
  /** Bytes of bodies sent so far, by path. */
  readonly sent: ReadonlyMap<string, number>;
  /** Bytes of shards sent so far. */
  shardBytes(): number;
  /** Breaks every connection after so many bytes of shards in all, and takes none until `mend`. */
  cutAfter(shardBytes: number): void;
  mend(): void;
  close(): Promise<void>;
}

const CHUNK_BYTES = 32_768;

/** @param delayMs before each 32 KiB of a body */
export async function cutProxy(upstream: string, delayMs = 0): Promise<CutProxy> {
  const sent = new Map<string, number>();
  const sockets = new Set<Socket>();
  let limit = Number.POSITIVE_INFINITY;
  const shardBytes = () => {
    let sum = 0;
    for (const [path, bytes] of sent) if (path.startsWith('/shards/')) sum += bytes;
    return sum;
  };
  const isCut = () => shardBytes() >= limit;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };

  async function relay(path: string, body: ReadableStream<Uint8Array>, response: ServerResponse): Promise<void> {
    for await (const chunk of body) {
      for (let at = 0; at < chunk.length; at += CHUNK_BYTES) {
        if (delayMs > 0) await sleep(delayMs);
        if (isCut()) return cut();
        const part = chunk.subarray(at, at + CHUNK_BYTES);
        sent.set(path, (sent.get(path) ?? 0) + part.length);
        if (!response.write(part)) await drained(response);
        if (response.destroyed) return;
      }
    }
    response.end();
  }

  const server = createServer(async (request, response) => {
    const path = request.url ?? '/';
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const headers = Object.fromEntries(
      Object.entries(request.headers).filter(([name]) => !['host', 'connection', 'content-length'].includes(name)),
    ) as Record<string, string>;
    const body = chunks.length === 0 ? undefined : Buffer.concat(chunks);
    try {
      const answer = await fetch(upstream + path, { method: request.method, headers, body });
      const kept = [...answer.headers].filter(([name]) => !['connection', 'transfer-encoding'].includes(name));
      response.writeHead(answer.status, Object.fromEntries(kept));
      if (answer.body === null) response.end();
      else await relay(path, answer.body, response);
    } catch {
      response.destroy();
    }
  });
  server.on('connection', (socket) => {
    if (isCut()) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent,
    shardBytes,
    cutAfter: (bytes) => {
      limit = bytes;
    },
    mend: () => {
      limit = Number.POSITIVE_INFINITY;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}
