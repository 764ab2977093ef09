/**
 * The endpoint, as a hono app that runs on every target: JSON in, a PNG or problem details (RFC 9457) out. Everything is
 * checked before work is done for it; a client that leaves stops its work; nothing that is answered may be cached.
 */
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { encodePng } from '@edge-dit/runtime/picture';
import type { Generated, Pipeline } from '@edge-dit/runtime/pipeline';
import { encoderIdentity, packEmbedding } from '@edge-dit/runtime/text/embedding-cache';
import type { Context, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { Hono } from 'hono/tiny';
import { describeModel } from './describe-model.ts';
import { createEmbedParser, createRequestParser, refusedByModel } from './generate-request.ts';
import { type Limits, limitsOf } from './limits.ts';
import type { ModelHost } from './model-host.ts';
import { Problem, problemDetails, problemResponse } from './problem.ts';
import { Turns } from './turns.ts';

export interface AppOptions {
  readonly models: ModelHost;
  readonly limits?: Partial<Limits>;
  /** Shards and manifests for others: see `createGateway`. */
  readonly gateway?: Hono;
  /** Is told why requests failed, prompts never. Default: the console. */
  readonly logger?: { error(message: string, cause?: unknown): void };
}

/** Below it the client is at fault and was told so. */
const FIRST_SERVER_ERROR = 500;

export function createApp({ models, limits: given, gateway, logger = console }: AppOptions): Hono {
  const limits = limitsOf(given);
  const turns = new Turns(limits.waiting);
  const parseRequest = createRequestParser(limits);
  const parseEmbedRequest = createEmbedParser(limits);
  const limitBody = bodyLimit({
    maxSize: limits.bodyBytes,
    onError: () => {
      throw new Problem('content-too-large', `a body has at most ${limits.bodyBytes} bytes.`);
    },
  });
  const bodyOf = async (c: Context) => {
    // Before the body is read: the limit may put another request in the place of this one.
    const { signal } = c.req.raw;
    let body: unknown;
    await limitBody(c, async () => {
      body = await readJson(c);
    });
    return { body, signal };
  };
  const app = new Hono();

  app.post('/generate', acceptPng, requireJson, async (c) => {
    const { body, signal } = await bodyOf(c);
    const { model, request } = parseRequest(body);
    const arrived = performance.now();
    const { pipeline, generated, waited } = await turns.take(async () => {
      const waited = performance.now() - arrived;
      return { ...(await models.generate(model, request, { signal })), waited };
    }, signal);
    return pictureResponse(pipeline, generated, waited);
  });

  // For devices that denoise without a text encoder of their own: `remoteTextEncoder`.
  app.post('/embed', requireJson, async (c) => {
    const { body, signal } = await bodyOf(c);
    const { model, prompt } = parseEmbedRequest(body);
    const { pipeline, embedding } = await turns.take(() => models.embed(model, prompt, signal), signal);
    return new Response((await packEmbedding(embedding)) as Uint8Array<ArrayBuffer>, {
      headers: {
        'content-type': 'application/octet-stream',
        'cache-control': 'no-store',
        'x-model': pipeline.manifest.model,
        'x-model-digest': pipeline.digest,
        'x-encoder': encoderIdentity(pipeline.manifest),
      },
    });
  });

  app.get('/models', async (c) => {
    const entries = models.names.map(async (id) => {
      try {
        return describeModel(await models.pipeline(id));
      } catch (error) {
        // One model that is broken does not hide the others.
        logger.error(`GET /models: ${id}`, error);
        return { id, problem: problemDetails(error, (text) => models.redact(text)) };
      }
    });
    c.header('cache-control', 'no-store');
    return c.json({ models: await Promise.all(entries) });
  });

  app.get('/healthz', (c) => {
    c.header('cache-control', 'no-store');
    return c.json({ status: 'ok', models: models.names.map((id) => ({ id, state: models.state(id) })) });
  });

  for (const [path, methods] of ROUTES) {
    app.all(path, (c) => {
      throw new Problem('method-not-allowed', `${path} takes ${methods}, not ${c.req.method}.`, {
        headers: { allow: methods },
      });
    });
  }
  if (gateway) app.route('/', gateway);
  app.notFound(() => {
    const known = ROUTES.map(([path, methods]) => `${methods} ${path}`).join('; ');
    return problemResponse(problemDetails(new Problem('route-not-found', `there is nothing here. Known: ${known}.`)));
  });
  app.onError((raised, c) => {
    const error = fieldNamed(raised);
    const details = problemDetails(error, (text) => models.redact(text));
    if (details.status >= FIRST_SERVER_ERROR) {
      logger.error(`${c.req.method} ${c.req.path}: ${details.status}`, error);
    }
    return problemResponse(details, error instanceof Problem ? error.headers : {});
  });
  return app;
}

const ROUTES = [
  ['/generate', 'POST'],
  ['/embed', 'POST'],
  ['/models', 'GET, HEAD'],
  ['/healthz', 'GET, HEAD'],
] as const;

/** What a model refuses is told with the field that it is about; all else stays as it is. */
function fieldNamed(error: unknown): unknown {
  if (isEdgeDitError(error, 'invalid-request') || isEdgeDitError(error, 'invalid-argument')) {
    return refusedByModel(error.message);
  }
  if (isEdgeDitError(error, 'model-not-found')) {
    return new Problem(error.code, error.message, { errors: [{ pointer: '#/model', detail: error.message }] });
  }
  return error;
}

/** The most specific range that speaks of PNG decides; `q=0` is a refusal. No header accepts everything. */
const acceptPng: MiddlewareHandler = async (c, next) => {
  const ranges = (c.req.header('accept') ?? '*/*').toLowerCase().replaceAll(/\s/g, '').split(',');
  const rangeOf = (wanted: string) => ranges.find((range) => range.split(';')[0] === wanted);
  const range = rangeOf('image/png') ?? rangeOf('image/*') ?? rangeOf('*/*');
  if (range === undefined || /;q=0(\.0*)?$/.test(range)) {
    throw new Problem('not-acceptable', 'pictures are image/png; accept image/png or */*.');
  }
  await next();
};

/** Also keeps out forms of other sites: a browser asks before it sends JSON across origins. */
const requireJson: MiddlewareHandler = async (c, next) => {
  const type = c.req.header('content-type')?.split(';')[0].trim().toLowerCase();
  if (type !== 'application/json') {
    throw new Problem('unsupported-media-type', 'send the request as content-type: application/json.');
  }
  await next();
};

async function readJson(c: Context): Promise<unknown> {
  try {
    return await c.req.json();
  } catch (cause) {
    if (c.req.raw.signal.aborted) throw cause;
    throw new Problem('malformed-request', 'the body is not JSON; send an object such as {"prompt": "red apple"}.');
  }
}

function pictureResponse(pipeline: Pipeline, generated: Generated, waited: number): Response {
  const start = performance.now();
  const png = encodePng(generated);
  const timings = { queue: waited, ...generated.timings, png: performance.now() - start };
  return new Response(png as Uint8Array<ArrayBuffer>, {
    headers: {
      'content-type': 'image/png',
      'content-length': String(png.length),
      'cache-control': 'no-store',
      'x-seed': String(generated.seed),
      'x-model': pipeline.manifest.model,
      'x-model-digest': pipeline.digest,
      'x-engine': pipeline.engine!.name,
      'x-steps': String(generated.steps),
      'x-guidance': String(generated.guidance),
      'x-memory-peak': String(pipeline.meter.peak),
      'server-timing': Object.entries(timings)
        .map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`)
        .join(', '),
    },
  });
}
