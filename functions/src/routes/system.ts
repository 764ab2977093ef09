/** What an endpoint says of itself: its models, whether it is ready, its figures, and its description. */
import type { HealthAnswer } from '../api/answers.ts';
import { openApiFor } from '../api/served-openapi.ts';
import type { AppContext, Endpoint } from '../app-env.ts';
import { describeModel } from '../describe-model.ts';
import { errorFields } from '../observe/log.ts';
import { labelsText } from '../observe/metrics.ts';
import { problemDetails } from '../problem.ts';

const NO_STORE = { 'cache-control': 'no-store' };

export function systemHandlers({ models, scheduler, metrics, limits, log }: Endpoint) {
  metrics.gauge('edge_dit_requests_waiting', 'Requests that wait for their turn.', () => one(scheduler.waiting));
  metrics.gauge('edge_dit_requests_running', 'Requests and jobs that compute.', () => one(scheduler.running));
  metrics.gauge('edge_dit_memory_bytes', 'Bytes of wasm memories and buffers.', () => one(models.meter.current));
  metrics.gauge('edge_dit_memory_peak_bytes', 'The most that they were.', () => one(models.meter.peak));
  metrics.gauge('edge_dit_memory_limit_bytes', 'The most that they may be.', () => one(models.meter.budget));
  metrics.gauge(
    'edge_dit_model_ready',
    'Whether the weights of a model are loaded.',
    () => new Map(models.names.map((model) => [labelsText({ model }), Number(models.state(model) === 'ready')])),
  );

  return {
    async models(c: AppContext): Promise<Response> {
      const entries = models.names.map(async (id) => {
        try {
          return describeModel(await models.pipeline(id));
        } catch (error) {
          // One model that is broken does not hide the others.
          log({ level: 'error', event: 'model-broken', model: id, ...errorFields(error) });
          return { id, problem: problemDetails(error, (text) => models.redact(text)) };
        }
      });
      return c.json({ models: await Promise.all(entries) }, 200, NO_STORE);
    },

    health(c: AppContext): Response {
      const answer: HealthAnswer = {
        status: 'ok',
        models: models.names.map((id) => ({ id, state: models.state(id) })),
        work: {
          running: scheduler.running,
          waiting: scheduler.waiting,
          pictures: metrics.total('edge_dit_pictures_total'),
          steps: metrics.total('edge_dit_steps_total'),
          memory_bytes: models.meter.current,
        },
      };
      return c.json(answer, 200, NO_STORE);
    },

    metrics(c: AppContext): Response {
      return c.body(metrics.text(), 200, { ...NO_STORE, 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
    },

    async openapi(c: AppContext): Promise<Response> {
      return c.json(await openApiFor(limits), 200, { 'cache-control': 'public, max-age=300' });
    },
  };
}

const one = (value: number) => new Map([['', value]]);
