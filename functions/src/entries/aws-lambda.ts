/**
 * The endpoint for AWS Lambda, by hono's adapter. `handler` answers events of function URLs, API Gateway and load balancers
 * in one piece; `streamHandler` is for function URLs whose invoke mode is RESPONSE_STREAM. There are no jobs: instances
 * stand still between requests.
 */
import { handle, streamHandle } from 'hono/aws-lambda';
import { Hono } from 'hono/tiny';
import { openServerApp } from '../server-app.ts';

const endpoint = await openServerApp(process.env, { jobs: false });
const app = new Hono();
app.all('*', (c) => endpoint.fetch(c.req.raw));

/** Problem details are text as well, which the adapter takes for bytes. */
export const handler = handle(app, { isContentTypeBinary: (type) => type.startsWith('image/') });
/** Of Lambda's own runtime for Node; undefined elsewhere. */
export const streamHandler: ReturnType<typeof streamHandle> | undefined =
  'awslambda' in globalThis ? streamHandle(app) : undefined;
