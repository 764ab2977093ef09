/**
 * Runs jobs in slices: some steps, then all that the next steps need is stored, and others have their turn. Whoever calls
 * `slice` again and again (an alarm of a Durable Object, a timer of Node) brings a job to its end; a process that dies
 * loses the steps since the last commit and no more, and the bytes of the pictures stay the same.
 */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { encodePng } from '@edge-dit/runtime/picture';
import type { Generated, GenerateStep, Suspended } from '@edge-dit/runtime/pipeline';
import type { Endpoint } from '../app-env.ts';
import { countStep, PREVIEW_SIDE, previewIsDue } from '../drawing.ts';
import { linkedSignal } from '../linked-signal.ts';
import { problemDetails } from '../problem.ts';
import { problemOf } from '../refusals.ts';
import { hasEnded, type JobDraft, type JobLive, type JobRecord, jobAnswer, newJob } from './job.ts';
import type { JobStore } from './job-store.ts';
import type { JobView } from './jobs.ts';
import { tellWebhook, type WebhookSettings } from './webhooks.ts';

export interface JobEngineOptions {
  readonly store: JobStore;
  readonly endpoint: Pick<Endpoint, 'models' | 'scheduler' | 'limits' | 'metrics' | 'log'>;
  readonly webhooks?: WebhookSettings;
  /** Milliseconds that a slice waits for its turn before it comes back later. */
  readonly patienceMs?: number;
}

/** A job that was taken up so often and got no further ends whatever runs it. */
const MOST_STARTS = 20;
/** Steps of a first slice, and of those of a host whose clock stands still while it computes. */
const UNTIMED_STEPS = 2;
const PATIENCE_MS = 60_000;
const WEBHOOK_TRIES = 5;
const WEBHOOK_DELAY_MS = 2000;
const RETRY_DELAY_MS = 1000;

export class JobEngine {
  readonly #options: JobEngineOptions;
  readonly #running = new Map<string, AbortController>();
  readonly #live = new Map<string, JobLive>();
  /** The last change of each job, which the next one waits for. */
  readonly #changes = new Map<string, Promise<unknown>>();

  constructor(options: JobEngineOptions) {
    this.#options = options;
  }

  async submit(draft: JobDraft): Promise<JobView & { created: boolean }> {
    return this.#alone(draft.id, async () => {
      const job = newJob(draft, Date.now());
      const created = await this.#options.store.create(job);
      return { created, ...(created ? { job } : (await this.read(draft.id))!) };
    });
  }

  async read(id: string): Promise<JobView | undefined> {
    const job = await this.#options.store.read(id);
    // It is forgotten when its time is over, not when somebody comes to sweep.
    if (job === undefined || (job.expiresAt ?? Number.POSITIVE_INFINITY) <= Date.now()) return undefined;
    return { job, live: this.#live.get(id) };
  }

  async picture(id: string, index: number): Promise<Uint8Array | undefined> {
    const picture = (await this.read(id))?.job.pictures[index];
    return picture && this.#options.store.blob(id, picture.blob);
  }

  async cancel(id: string): Promise<JobView | undefined> {
    // At once: the change that the slice may be waiting for must not be one of its own.
    this.#running.get(id)?.abort();
    return this.#alone(id, async () => {
      const view = await this.read(id);
      if (view === undefined || hasEnded(view.job)) return view;
      return { job: await this.#end(view.job, { status: 'canceled' }) };
    });
  }

  isRunning(id: string): boolean {
    return this.#running.has(id);
  }

  /** Stops what runs; it is taken up from its last commit. */
  stop(): void {
    for (const controller of this.#running.values()) controller.abort();
  }

  /** Does the next piece of a job. @returns milliseconds until there is more to do, or undefined when there is not */
  async slice(id: string): Promise<number | undefined> {
    const job = await this.#options.store.read(id);
    if (job === undefined) return undefined;
    return hasEnded(job) ? this.#afterwards(job) : this.#compute(job);
  }

  async #compute(queued: JobRecord): Promise<number> {
    const { id, owner } = queued;
    const { scheduler, log } = this.#options.endpoint;
    const controller = new AbortController();
    this.#running.set(id, controller);
    const patience = linkedSignal(controller.signal, this.#options.patienceMs ?? PATIENCE_MS);
    try {
      // A queue of their own beside the owner's requests, so that many jobs do not keep a request waiting.
      const place = scheduler.enter(`jobs of ${owner}`, { signal: patience.signal, admitted: true });
      try {
        await place.turn;
        patience.release();
        return await this.#computeNow(id, controller.signal);
      } finally {
        place.leave();
      }
    } catch (error) {
      if (isEdgeDitError(error, 'aborted')) return 0;
      log({ level: 'error', event: 'job-interrupted', job: id, error: (error as Error).message });
      return RETRY_DELAY_MS;
    } finally {
      patience.release();
      this.#running.delete(id);
      this.#live.delete(id);
    }
  }

  async #computeNow(id: string, signal: AbortSignal): Promise<number> {
    const { store } = this.#options;
    const job = await this.#alone(id, async () => {
      const stored = await store.read(id);
      if (stored === undefined || hasEnded(stored) || signal.aborted) return undefined;
      const started = { ...stored, status: 'running', startedAt: stored.startedAt ?? Date.now() } as const;
      const taken: JobRecord = { ...started, starts: stored.starts + 1 };
      await store.commit(taken);
      return taken;
    });
    if (job === undefined) return 0;
    try {
      if (job.starts > MOST_STARTS) {
        throw new EdgeDitError('internal', `the job was interrupted ${MOST_STARTS} times and got no further.`);
      }
      const start = Date.now();
      const from = job.checkpoint === undefined ? undefined : await store.blob(id, job.checkpoint);
      const result = await this.#advance(job, from, signal);
      await this.#alone(id, () => this.#store(job, result, Date.now() - start, signal));
    } catch (raised) {
      if (isEdgeDitError(raised, 'aborted')) return 0;
      // Of a model that was published anew meanwhile: the picture under way begins again.
      if (isEdgeDitError(raised, 'resume-refused') && job.checkpoint !== undefined) {
        await this.#alone(id, () => store.commit({ ...job, step: 0, checkpoint: undefined }));
        return 0;
      }
      return this.#failed(job, raised);
    }
    return 0;
  }

  #advance(job: JobRecord, from: Uint8Array | undefined, signal: AbortSignal): Promise<Generated | Suspended> {
    const { models, metrics } = this.#options.endpoint;
    const request = { ...job.request, seed: job.request.seed + job.pictures.length };
    const onStep = async (step: number, steps: number, report: GenerateStep) => {
      countStep(metrics);
      const small = previewIsDue(step, steps) ? report.preview(PREVIEW_SIDE) : undefined;
      const preview = small ? { ...small, png: encodePng(small), step } : this.#live.get(job.id)?.preview;
      this.#live.set(job.id, { step, preview });
    };
    return models.advance(job.model, request, this.#stepsOf(job), { from, signal, onStep });
  }

  /** As many as fit into a slice, by the time that a step took; never so many that a wrong clock costs much. */
  #stepsOf({ stepMs, steps }: JobRecord): number {
    if (stepMs <= 0) return UNTIMED_STEPS;
    return Math.min(steps, Math.max(1, Math.floor(this.#options.endpoint.limits.sliceMs / stepMs)));
  }

  async #store(job: JobRecord, result: Generated | Suspended, ms: number, signal: AbortSignal): Promise<void> {
    const { store, endpoint } = this.#options;
    if (signal.aborted) throw new EdgeDitError('aborted', 'the job was canceled.');
    if ('checkpoint' in result) {
      const { step, checkpoint } = result;
      const name = `checkpoint-${job.pictures.length}-${step}`;
      const next = { ...job, step, checkpoint: name, starts: 0, stepMs: ms / Math.max(1, step - job.step) };
      await store.commit(next, new Map([[name, checkpoint]]));
      return;
    }
    const { seed, width, height } = result;
    const blob = `picture-${job.pictures.length}`;
    const pictures = [...job.pictures, { seed, width, height, blob }];
    const next = { ...job, pictures, step: 0, checkpoint: undefined, starts: 0 };
    const blobs = new Map([[blob, encodePng(result)]]);
    endpoint.metrics.add('edge_dit_pictures_total', 'Pictures that were finished.');
    if (pictures.length === job.n) await this.#end(next, { status: 'succeeded' }, blobs);
    else await store.commit(next, blobs);
  }

  /** A store that does not answer is asked again; what else fails, fails the job. */
  async #failed(job: JobRecord, raised: unknown): Promise<number> {
    const { models, log } = this.#options.endpoint;
    const details = problemDetails(problemOf(raised), (text) => models.redact(text));
    log({ level: 'error', event: 'job-failed', job: job.id, starts: job.starts, detail: (raised as Error).message });
    if (isEdgeDitError(raised, 'store-failed') && job.starts < MOST_STARTS) {
      return RETRY_DELAY_MS * Math.min(60, 2 ** job.starts);
    }
    await this.#alone(job.id, () => this.#end(job, { status: 'failed', error: details }));
    return 0;
  }

  async #end(
    job: JobRecord,
    how: Pick<JobRecord, 'status' | 'error'>,
    blobs?: ReadonlyMap<string, Uint8Array>,
  ): Promise<JobRecord> {
    const { store, endpoint } = this.#options;
    const now = Date.now();
    const ended: JobRecord = { ...job, ...how, checkpoint: undefined, completedAt: now };
    const kept = { ...ended, expiresAt: now + endpoint.limits.keptMs };
    await store.commit(kept, blobs);
    endpoint.metrics.add('edge_dit_jobs_total', 'Jobs that ended.', { status: how.status });
    endpoint.log({ level: 'info', event: 'job-ended', job: job.id, key: job.owner, status: how.status });
    return kept;
  }

  /** Tells the webhook, then waits until the result may be forgotten. */
  async #afterwards(job: JobRecord): Promise<number | undefined> {
    const { store, webhooks, endpoint } = this.#options;
    const { webhook, expiresAt = 0 } = job;
    if (webhook?.state === 'due') {
      const failure = webhooks
        ? await tellWebhook(webhooks, webhook.name, jobAnswer(job), Date.now())
        : 'none configured';
      const tries = webhook.tries + 1;
      const state = failure === undefined ? 'told' : tries >= WEBHOOK_TRIES ? 'given-up' : 'due';
      if (failure !== undefined) {
        endpoint.log({ level: 'warn', event: 'webhook-failed', job: job.id, webhook: webhook.name, tries, failure });
      }
      await this.#alone(job.id, () => store.commit({ ...job, webhook: { ...webhook, tries, state } }));
      if (state === 'due') return WEBHOOK_DELAY_MS * 4 ** tries;
    }
    const left = expiresAt - Date.now();
    if (left > 0) return left;
    await store.remove(job.id);
    return undefined;
  }

  /** One change of a job after the other. */
  async #alone<T>(id: string, change: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(id);
    const run = (async () => {
      await before?.catch(() => {});
      return change();
    })();
    this.#changes.set(id, run);
    try {
      return await run;
    } finally {
      if (this.#changes.get(id) === run) this.#changes.delete(id);
    }
  }
}
