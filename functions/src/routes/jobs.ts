/** `/jobs/:id`: how far a job is, its result, and its end. A job is seen by the key that asked for it, and by no other. */
import type { AppContext, Endpoint } from '../app-env.ts';
import { hasEnded, JOB_ID, jobAnswer } from '../jobs/job.ts';
import type { JobView } from '../jobs/jobs.ts';
import { linkedSignal } from '../linked-signal.ts';
import { Problem } from '../problem.ts';
import { EVENT_HEADERS } from './events.ts';
import { followJob, jobsOf, resultResponse } from './job-answers.ts';
import { representationOf } from './representation.ts';

type Handler = (c: AppContext) => Promise<Response>;

export function jobHandlers(endpoint: Endpoint): { state: Handler; result: Handler; cancel: Handler } {
  const find = async (c: AppContext): Promise<JobView> => {
    const id = c.req.param('id') ?? '';
    const view = JOB_ID.test(id) ? await jobsOf(endpoint).read(id) : undefined;
    if (view === undefined || view.job.owner !== c.get('key').name) {
      throw new Problem('job-not-found', 'there is no job of this id here, or its result was forgotten.');
    }
    return view;
  };
  const told = (c: AppContext, { job, live }: JobView) => {
    const headers = { 'cache-control': 'no-store', ...(!hasEnded(job) && { 'retry-after': '1' }) };
    return c.json(jobAnswer(job, live), 200, headers);
  };
  return {
    async state(c) {
      const representation = representationOf(c.req.header('accept'), ['application/json', 'text/event-stream']);
      const view = await find(c);
      if (representation === 'application/json') return told(c, view);
      // Nobody would read the events, nor leave them.
      if (c.req.method === 'HEAD') return new Response(null, { headers: EVENT_HEADERS });
      const link = linkedSignal(c.req.raw.signal, endpoint.limits.timeoutMs);
      return followJob(c, jobsOf(endpoint), view.job.id, link);
    },

    async result(c) {
      const representation = representationOf(c.req.header('accept'), ['image/png', 'application/json']);
      const index = c.req.query('index') ?? '0';
      if (!/^\d{1,3}$/.test(index)) {
        throw new Problem('invalid-request', 'index: give the number of a picture, from 0.', {
          errors: [{ pointer: '#/index', detail: 'give the number of a picture, from 0' }],
        });
      }
      const { job } = await find(c);
      if (!hasEnded(job)) {
        throw new Problem(
          'job-not-finished',
          `the job is ${job.status}; come back, or follow ${jobAnswer(job).urls.self}.`,
          {
            headers: { 'retry-after': '1' },
          },
        );
      }
      return resultResponse(jobsOf(endpoint), job, representation, { 'cache-control': 'no-store' }, Number(index));
    },

    async cancel(c) {
      const { job } = await find(c);
      return told(c, (await jobsOf(endpoint).cancel(job.id))!);
    },
  };
}
