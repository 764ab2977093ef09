/**
 * More clients than an endpoint can serve, for a while: every picture is the one of its seed, what is too much is refused with the
 * time to come back, health is answered in between, and memory is afterwards what it was before.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KillableServer } from '../jobs/killable-servers.ts';
import { sendAgainIfClosed } from '../send-again.ts';

export interface LoadOptions {
  readonly server: KillableServer;
  /** Requests of which the answers are known after they were asked once each. */
  readonly bodies: readonly Readonly<Record<string, unknown>>[];
  readonly clients: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Of rest before memory is measured. */
  readonly restSeconds: number;
  /** Of [0, 1). */
  readonly random: () => number;
  readonly onProgress?: (line: string) => void;
}

export interface LoadResults {
  readonly clients: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly pictures: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly wrong: number;
  /** Requests that were sent again, because their connection was closed under them. */
  readonly closed: number;
  readonly healthMs: { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number };
  /** Resident set of the process that computes, in MiB: after the warm-up, and after the load. */
  readonly memoryMb: { readonly before: number; readonly after: number; readonly change: number };
}

const HEALTH_EVERY_MS = 50;
const HEADERS = { 'content-type': 'application/json' };

export async function load(options: LoadOptions): Promise<LoadResults> {
  const { server, bodies, warmUpSeconds, restSeconds, seconds, onProgress = () => {} } = options;
  const expected = [];
  for (const body of bodies) {
    const response = await post(server.url, body);
    expected.push(digestOf(await bytesOf(response)));
  }
  onProgress(`${bodies.length} pictures are known; warming up`);
  await storm(options, expected, warmUpSeconds);
  const before = await restingMemory(server.pid, restSeconds);
  onProgress(`${before.toFixed(1)} MiB before`);
  const { pictures, refused, wrong, closed, health } = await storm(options, expected, seconds);
  const after = await restingMemory(server.pid, restSeconds);
  health.sort((a, b) => a - b);
  const at = (share: number) =>
    Number(health[Math.min(health.length - 1, Math.floor(share * health.length))].toFixed(1));
  return {
    clients: options.clients,
    seconds,
    warmUpSeconds,
    pictures,
    refused,
    wrong,
    closed,
    healthMs: { count: health.length, p50: at(0.5), p99: at(0.99), max: at(1) },
    memoryMb: {
      before: Number(before.toFixed(1)),
      after: Number(after.toFixed(1)),
      change: Number((after / before - 1).toFixed(4)),
    },
  };
}

async function storm({ server, bodies, clients, random }: LoadOptions, expected: readonly string[], seconds: number) {
  const end = performance.now() + 1000 * seconds;
  const running = () => performance.now() < end;
  const refused: Record<string, number> = {};
  const health: number[] = [];
  let [pictures, wrong, closed] = [0, 0, 0];
  const client = async () => {
    while (running()) {
      const i = Math.floor(random() * bodies.length);
      const response = await sendAgainIfClosed(
        () => post(server.url, bodies[i]),
        () => closed++,
      );
      const bytes = await bytesOf(response);
      if (response.status === 200) {
        pictures++;
        if (digestOf(bytes) !== expected[i]) wrong++;
        continue;
      }
      assert.ok([429, 503].includes(response.status), `${response.status} ${Buffer.from(bytes)}`);
      assert.ok(Number(response.headers.get('retry-after')) >= 1);
      refused[response.status] = (refused[response.status] ?? 0) + 1;
      // Sooner than it was told.
      await sleep(200 + 800 * random());
    }
  };
  const watch = async () => {
    while (running()) {
      const start = performance.now();
      const response = await sendAgainIfClosed(
        () => fetch(`${server.url}/healthz`),
        () => closed++,
      );
      assert.equal(response.status, 200);
      await response.arrayBuffer();
      health.push(performance.now() - start);
      await sleep(HEALTH_EVERY_MS);
    }
  };
  await Promise.all([watch(), ...Array.from({ length: clients }, client)]);
  return { pictures, refused, wrong, closed, health };
}

/** When nothing is under way any more: the least of some seconds, which collectors of garbage may need. */
async function restingMemory(pid: number, seconds: number): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < 2 * seconds; i++) {
    await sleep(500);
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
    samples.push(Number(kilobytes) / 1024);
  }
  return Math.min(...samples);
}

const post = (url: string, body: unknown) =>
  fetch(`${url}/generate`, { method: 'POST', headers: HEADERS, body: JSON.stringify(body) });
const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());
const digestOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
