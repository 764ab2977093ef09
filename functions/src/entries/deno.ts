/** The endpoint for Deno: `deno serve` and Deno Deploy take the default export. */
import process from 'node:process';
import { openServerApp } from '../server-app.ts';

const app = await openServerApp(process.env);

export default { fetch: (request: Request) => app.fetch(request) };
