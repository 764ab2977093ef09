/** `POST /generate`: a picture as it is, pictures as JSON or as events while they are made, or a job. */
import { unknownName } from '@edge-dit/runtime/errors';
import { encodePng } from '@edge-dit/runtime/picture';
import type { Events } from '../api/answers.ts';
import type { AppContext, Endpoint } from '../app-env.ts';
import { type Drawing, draw, PREVIEW_SIDE, pictureData, picturesAnswer, previewIsDue, seedsOf } from '../drawing.ts';
import { createRequestParser, type ParsedRequest, refusedField } from '../generate-request.ts';
import { type LinkedSignal, linkedSignal, reasonOf } from '../linked-signal.ts';
import { problemDetails } from '../problem.ts';
import { problemOf } from '../refusals.ts';
import type { Place, Scheduler } from '../scheduler.ts';
import { answerEvents, type EventSink } from './events.ts';
import { answerWithJob, idempotencyKey } from './job-answers.ts';
import { pngResponse } from './png-response.ts';
import { bodyReader } from './read-body.ts';
import { prefers, type Representation, representationOf } from './representation.ts';

const OFFERED: readonly Representation[] = ['image/png', 'application/json', 'text/event-stream'];

export function generateHandler(endpoint: Endpoint): (c: AppContext) => Promise<Response> {
  const { limits, models, scheduler } = endpoint;
  const parseRequest = createRequestParser(limits);
  const readBody = bodyReader(limits);
  return async (c) => {
    // Before the body is read: the limit may put another request in the place of this one.
    const client = c.req.raw.signal;
    const representation = representationOf(c.req.header('accept'), OFFERED);
    const asJob = prefers(c.req.header('prefer'), 'respond-async');
    const idempotency = idempotencyKey(c.req.header('idempotency-key'));
    const parsed = parseRequest(await readBody(c));
    checkWebhook(endpoint, parsed, asJob);
    if (parsed.n > 1 && representation === 'image/png' && !asJob) {
      const detail = `an image/png holds one picture, not ${parsed.n}; accept application/json or text/event-stream`;
      throw refusedField('n', detail);
    }
    // All that can be refused is refused before the request waits.
    const pipeline = await models.pipeline(parsed.model);
    const settled = pipeline.check(parsed.request);
    const { name } = c.get('key');
    Object.assign(c.get('logFields'), { model: pipeline.manifest.model, steps: settled.steps, n: parsed.n });
    if (asJob || idempotency !== undefined) {
      return answerWithJob(endpoint, c, { parsed, pipeline, settled, idempotency, asJob, representation });
    }

    const link = linkedSignal(client, limits.timeoutMs);
    const arrived = performance.now();
    const place = enterOrRelease(scheduler, name, link);
    const work = async (onStep?: Parameters<typeof draw>[2]['onStep']): Promise<Drawing> => {
      try {
        await place.turn;
        const queue = performance.now() - arrived;
        const drawing = await draw(endpoint, parsed, { signal: link.signal, onStep });
        return { ...drawing, timings: { queue, ...drawing.timings } };
      } catch (error) {
        throw reasonOf(error, link.signal);
      } finally {
        place.leave();
        link.release();
      }
    };
    if (representation === 'text/event-stream') {
      const start = {
        model: pipeline.manifest.model,
        model_digest: pipeline.digest,
        steps: settled.steps,
        seeds: seedsOf(parsed),
      };
      const produce = (sink: EventSink) => tell(endpoint, sink, place.turn, start, work);
      return answerEvents(c, produce, () => link.abort(undefined));
    }
    const drawing = await work();
    const headers = headersOf(drawing);
    if (representation === 'application/json') return c.json(picturesAnswer(drawing), 200, headers);
    const [{ png, generated }] = drawing.pictures;
    return pngResponse(png, generated.seed, headers);
  };
}

/** A refused request must not leave its timer behind. @throws what `enter` does */
function enterOrRelease(scheduler: Scheduler, key: string, link: LinkedSignal): Place {
  try {
    return scheduler.enter(key, { signal: link.signal });
  } catch (error) {
    link.release();
    throw error;
  }
}

/** The events of one request, its error among them. */
async function tell(
  { models, log }: Endpoint,
  sink: EventSink,
  turn: Promise<void>,
  start: Events['start'],
  work: (onStep: Parameters<typeof draw>[2]['onStep']) => Promise<Drawing>,
): Promise<void> {
  try {
    turn.then(
      () => sink.send('start', start),
      () => {},
    );
    const drawing = await work(async (progress, report) => {
      sink.send('progress', progress);
      if (!previewIsDue(progress.step, progress.of)) return;
      const small = report.preview(PREVIEW_SIDE);
      if (small === undefined) return;
      const { picture, step } = progress;
      sink.send('preview', { picture, step, ...pictureData(encodePng(small), small, start.seeds[picture]) });
    });
    sink.send('completed', picturesAnswer(drawing));
  } catch (raised) {
    const details = problemDetails(problemOf(raised), (text) => models.redact(text));
    if (details.status >= 500) log({ level: 'error', event: 'stream-failed', detail: details.detail });
    sink.send('error', details);
  }
}

function checkWebhook({ webhooks }: Endpoint, { webhook }: ParsedRequest, asJob: boolean): void {
  if (webhook === undefined) return;
  if (!asJob) throw refusedField('webhook', 'goes with the header prefer: respond-async');
  if (!webhooks.includes(webhook)) {
    throw refusedField('webhook', unknownName('webhook', webhook, webhooks).message.replace(/\.$/, ''));
  }
}

function headersOf({ pipeline, pictures, timings }: Drawing): Record<string, string> {
  const [{ generated }] = pictures;
  return {
    'cache-control': 'no-store',
    'x-model': pipeline.manifest.model,
    'x-model-digest': pipeline.digest,
    'x-engine': pipeline.engine!.name,
    'x-steps': String(generated.steps),
    'x-guidance': String(generated.guidance),
    'x-memory-peak': String(pipeline.meter.peak),
    'x-streamed-blocks': `${pipeline.streaming!.streamed} of ${pipeline.streaming!.blocks}`,
    'server-timing': Object.entries(timings)
      .map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`)
      .join(', '),
  };
}
