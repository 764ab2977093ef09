/** The endpoint as a program of Node: listens on HOST and PORT until it is told to stop, and answers what it has begun. */
import { listen } from '../listen.ts';
import { openServerApp } from '../server-app.ts';

const DEFAULT_PORT = 8787;

const app = await openServerApp(process.env);
const { HOST: host, PORT: port = DEFAULT_PORT } = process.env;
const served = await listen(app.fetch, { host, port: Number(port) });
console.log(`listening on ${served.url}`);

let stopping = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, async () => {
    if (stopping) process.exit(1);
    stopping = true;
    await served.close();
    await app.close();
    process.exit(0);
  });
}
