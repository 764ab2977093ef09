/**
 * Stands for Lambda's runtime, in a process of its own: requests over HTTP become events of a function URL (payload format
 * 2.0, https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html), a bundle's handler answers them. Arguments: the
 * module, and `handler` or `streamHandler`. As in Lambda, one request at a time.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

type Handler = (event: unknown, context: unknown) => Promise<BufferedResult>;
type StreamHandler = (event: unknown, stream: Writable, context: unknown) => Promise<void>;

interface BufferedResult {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

const [modulePath, name] = process.argv.slice(2);

// What Lambda's own runtime for Node puts there.
(globalThis as Record<string, unknown>).awslambda = {
  streamifyResponse: (handler: StreamHandler) => handler,
  HttpResponseStream: {
    from(stream: ServerResponse, { statusCode, headers }: BufferedResult) {
      stream.writeHead(statusCode, headers);
      return stream;
    },
  },
};

const handlers = (await import(pathToFileURL(modulePath).href)) as { handler: Handler; streamHandler: StreamHandler };

async function eventOf(request: IncomingMessage) {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const { pathname, search } = new URL(request.url!, 'http://localhost');
  const domainName = 'abcdefghijklmnopqrstuvwxyz.lambda-url.eu-central-1.on.aws';
  const body = Buffer.concat(chunks);
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: pathname,
    rawQueryString: search.slice(1),
    headers: { ...request.headers, host: domainName, 'x-forwarded-proto': 'https', 'x-forwarded-for': '192.0.2.1' },
    requestContext: {
      accountId: 'anonymous',
      apiId: 'abcdefghijklmnopqrstuvwxyz',
      domainName,
      domainPrefix: 'abcdefghijklmnopqrstuvwxyz',
      http: {
        method: request.method,
        path: pathname,
        protocol: 'HTTP/1.1',
        sourceIp: '192.0.2.1',
        userAgent: 'test',
      },
      requestId: 'a3fb9b0e-0000-4000-8000-000000000000',
      routeKey: '$default',
      stage: '$default',
      time: '28/Nov/2026:12:00:00 +0000',
      timeEpoch: 1_795_867_200_000,
    },
    ...(body.length > 0 && { body: body.toString('base64') }),
    isBase64Encoded: body.length > 0,
  };
}

const context = { functionName: 'edge-dit', memoryLimitInMB: '1769', callbackWaitsForEmptyEventLoop: true };

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const event = await eventOf(request);
  if (name === 'streamHandler') return handlers.streamHandler(event, response, context);
  const { statusCode, headers, body, isBase64Encoded } = await handlers.handler(event, context);
  response.writeHead(statusCode, headers);
  response.end(Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8'));
}

let turn: Promise<unknown> = Promise.resolve();
const server = createServer((request, response) => {
  turn = turn.then(() =>
    answer(request, response).catch((error) => {
      console.error(error);
      response.destroy();
    }),
  );
});
server.listen(0, '127.0.0.1', () =>
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`),
);
