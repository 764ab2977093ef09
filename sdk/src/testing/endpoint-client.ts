/** For tests: requests as clients of an endpoint send them. */
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const JSON_HEADERS = { 'content-type': 'application/json' };

export interface Picture {
  readonly headers: Headers;
  readonly png: Uint8Array;
}

/** @throws when the answer is not a picture */
export async function generate(url: string, body: Readonly<Record<string, unknown>>): Promise<Picture> {
  const response = await postGenerate(url, JSON.stringify(body));
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  return { headers: response.headers, png: new Uint8Array(await response.arrayBuffer()) };
}

export function postGenerate(url: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/generate`, {
    method: 'POST',
    headers: { ...JSON_HEADERS, ...headers },
    body,
  });
}

/**
 * Asks for a picture and does not wait for it; the result breaks the connection off. By a reset: workerd on its own
 * takes a connection that is only closed for a client that still listens.
 */
export function askAndLeave(url: string, body: Readonly<Record<string, unknown>>): () => void {
  const request = httpRequest(`${url}/generate`, { method: 'POST', headers: JSON_HEADERS });
  request.on('error', () => {});
  request.end(JSON.stringify(body));
  return () => request.socket?.resetAndDestroy();
}

/** Sends a body piece by piece until the server answers. A plain socket: `fetch` loses answers that come before the end. */
export async function sendUntilAnswered(
  url: string,
  framing: string,
  bytes: number,
): Promise<{ readonly status: number; readonly sent: number }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('data', (data) => (answer += data));
  socket.on('error', () => {});
  socket.write(`POST /generate HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n${framing}\r\n\r\n`);
  const piece = ' '.repeat(16_384);
  const chunk = framing.startsWith('transfer-encoding') ? `4000\r\n${piece}\r\n` : piece;
  let sent = 0;
  while (sent < bytes && answer === '' && !socket.destroyed) {
    socket.write(chunk);
    sent += piece.length;
    await sleep(10);
  }
  socket.destroy();
  return { status: Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1]), sent };
}
