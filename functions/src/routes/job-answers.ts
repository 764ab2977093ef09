/** `POST /generate` as a job: accepted and told where it is, or waited for in the form that was asked. */
import type { Pipeline } from '@edge-dit/runtime/pipeline';
import { sha256Hex } from '@edge-dit/runtime/verify';

import type { Pictures } from '../api/answers.ts';
import type { AppContext, Endpoint } from '../app-env.ts';
import { pictureData } from '../drawing.ts';
import type { ParsedRequest } from '../generate-request.ts';
import { hasEnded, type JobRecord, jobAnswer, jobId } from '../jobs/job.ts';
import type { Jobs, JobView } from '../jobs/jobs.ts';
import { type LinkedSignal, linkedSignal, reasonOf } from '../linked-signal.ts';
import { Problem, type ProblemDetails, problemDetails, problemResponse } from '../problem.ts';
import { wait } from '../wait.ts';
import { answerEvents, type EventSink } from './events.ts';
import { pngResponse } from './png-response.ts';
import type { Representation } from './representation.ts';

interface AskedJob {
  readonly parsed: ParsedRequest;
  readonly pipeline: Pipeline;
  readonly settled: { readonly steps: number; readonly guidance: number };
  readonly idempotency: string | undefined;
  readonly asJob: boolean;
  readonly representation: Representation;
}

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;
/** How often whoever waits for a job looks at it. */
const LOOK_MS = 150;

/** @throws Problem `malformed-header` */
export function idempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined || IDEMPOTENCY_KEY.test(header)) return header;
  throw new Problem('malformed-header', 'idempotency-key: give 1 to 255 characters of ASCII without spaces.');
}

export function jobsOf({ jobs }: Pick<Endpoint, 'jobs'>): Jobs {
  if (jobs) return jobs;
  throw new Problem('jobs-unavailable', 'ask without prefer: respond-async and without idempotency-key.');
}

export async function answerWithJob(endpoint: Endpoint, c: AppContext, asked: AskedJob): Promise<Response> {
  const jobs = jobsOf(endpoint);
  const { parsed, pipeline, settled, idempotency, asJob, representation } = asked;
  const { name: owner } = c.get('key');
  const digest = await sha256Hex(new TextEncoder().encode(parsed.sent));
  const { job, created } = await jobs.submit({
    id: await jobId(owner, idempotency),
    owner,
    model: pipeline.manifest.model,
    modelDigest: pipeline.digest,
    request: parsed.request,
    asked: digest,
    n: parsed.n,
    steps: settled.steps,
    guidance: settled.guidance,
    webhook: parsed.webhook,
  });
  Object.assign(c.get('logFields'), { job: job.id, replayed: !created });
  if (job.asked !== digest) {
    throw new Problem('idempotency-key-reused', 'idempotency-key: it was used for another request; take a new one.');
  }
  const headers = { 'cache-control': 'no-store', ...(!created && { 'idempotent-replayed': 'true' }) };
  if (asJob) {
    const answer = jobAnswer(job);
    return c.json(answer, 202, {
      ...headers,
      location: answer.urls.self,
      'preference-applied': 'respond-async',
      'retry-after': '1',
    });
  }
  const link = linkedSignal(c.req.raw.signal, endpoint.limits.timeoutMs);
  if (representation === 'text/event-stream') {
    return followJob(c, jobs, job.id, link, headers);
  }
  try {
    const { job: ended } = await endOf(jobs, job.id, link.signal);
    return await resultResponse(jobs, ended, representation, headers);
  } catch (error) {
    throw reasonOf(error, link.signal);
  } finally {
    link.release();
  }
}

/** The events of a job from now on. Whoever leaves does not end it. */
export function followJob(
  c: AppContext,
  jobs: Jobs,
  id: string,
  link: LinkedSignal,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const { signal } = link;
  const produce = async (sink: EventSink) => {
    try {
      const first = await viewOf(jobs, id);
      const { model, model_digest, steps, seeds } = jobAnswer(first.job);
      sink.send('start', { model, model_digest, steps, seeds });
      const { job } = await endOf(jobs, id, signal, (view) => tellProgress(sink, view));
      if (job.status === 'succeeded') sink.send('completed', await picturesOf(jobs, job));
      else sink.send('error', faultOf(job));
    } catch (error) {
      sink.send('error', problemDetails(reasonOf(error, signal)));
    } finally {
      link.release();
    }
  };
  return answerEvents(c, produce, () => link.abort(undefined), headers);
}

function tellProgress(sink: EventSink, { job, live }: JobView): void {
  const { progress } = jobAnswer(job, live);
  const left = (job.n - progress.pictures) * job.steps - progress.step;
  const eta = job.stepMs > 0 ? Number(((job.stepMs * left) / 1000).toFixed(2)) : null;
  if (!hasEnded(job)) {
    sink.send('progress', { picture: progress.pictures, pictures: job.n, step: progress.step, of: progress.of, eta });
  }
  if (live?.preview === undefined) return;
  const { png, step, ...size } = live.preview;
  const picture = job.pictures.length;
  sink.send('preview', { picture, step, ...pictureData(png, size, job.request.seed + picture) });
}

/** Waits until a job has ended; `onChange` sees it whenever it got further. */
async function endOf(
  jobs: Jobs,
  id: string,
  signal: AbortSignal,
  onChange?: (view: JobView) => void,
): Promise<JobView> {
  let seen = '';
  for (;;) {
    const view = await viewOf(jobs, id);
    const { job, live } = view;
    const state = [job.status, job.pictures.length, job.step, live?.step, live?.preview?.step].join();
    if (state !== seen) onChange?.(view);
    seen = state;
    if (hasEnded(job)) return view;
    await wait(LOOK_MS, signal);
  }
}

async function viewOf(jobs: Jobs, id: string): Promise<JobView> {
  const view = await jobs.read(id);
  if (view) return view;
  throw new Problem('job-not-found', 'there is no job of this id, or its result was forgotten.');
}

/** Of a job that has ended: its pictures in the form that was asked, or why there are none. */
export async function resultResponse(
  jobs: Jobs,
  job: JobRecord,
  representation: Representation,
  headers: Readonly<Record<string, string>>,
  index = 0,
): Promise<Response> {
  if (job.status !== 'succeeded') return problemResponse(faultOf(job), headers);
  const common = {
    ...headers,
    'x-model': job.model,
    'x-model-digest': job.modelDigest,
    'x-steps': String(job.steps),
    'x-guidance': String(job.guidance),
  };
  if (representation === 'application/json') return Response.json(await picturesOf(jobs, job), { headers: common });
  const png = await pictureOf(jobs, job, index);
  return pngResponse(png, job.pictures[index].seed, common);
}

async function picturesOf(jobs: Jobs, job: JobRecord): Promise<Pictures> {
  const pictures: Pictures['pictures'] = [];
  for (const [i, size] of job.pictures.entries()) {
    pictures.push(pictureData(await pictureOf(jobs, job, i), size, size.seed));
  }
  const timings = { job: job.completedAt! - job.createdAt };
  return {
    model: job.model,
    model_digest: job.modelDigest,
    steps: job.steps,
    guidance: job.guidance,
    pictures,
    timings,
  };
}

async function pictureOf(jobs: Jobs, job: JobRecord, index: number): Promise<Uint8Array> {
  const png = await jobs.picture(job.id, index);
  if (png) return png;
  throw new Problem('job-not-found', `the job has ${job.pictures.length} pictures, numbered from 0, and no ${index}.`);
}

function faultOf(job: JobRecord): ProblemDetails {
  return job.error ?? problemDetails(new Problem('job-canceled', 'the job was canceled before it had ended.'));
}
