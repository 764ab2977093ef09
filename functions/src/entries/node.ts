/**
 * The endpoint as a program of Node: listens on HOST and PORT until it is told to stop. What it has begun by then has DRAIN_MS to end;
 * told again, it stops at once.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { listen } from '../listen.ts';
import { openServerApp } from '../server-app.ts';

const DEFAULT_PORT = 8787;
/** Kubernetes kills after 30 s. */
const DEFAULT_DRAIN_MS = 25_000;

const drainMs = Number(process.env.DRAIN_MS ?? DEFAULT_DRAIN_MS);
if (!(drainMs >= 0)) throw new EdgeDitError('invalid-argument', 'DRAIN_MS must be a number of milliseconds.');
const app = await openServerApp(process.env);
const { HOST: host, PORT: port = DEFAULT_PORT } = process.env;
const served = await listen(app.fetch, { host, port: Number(port) });
console.log(`listening on ${served.url}`);

let stopping = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, async () => {
    if (stopping) process.exit(1);
    stopping = true;
    await served.close(drainMs);
    await app.close();
    process.exit(0);
  });
}
