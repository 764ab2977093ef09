/** A job as it is stored: what was asked, how far it is, and what came of it. Pictures and checkpoints lie beside it. */
import type { GenerateRequest } from '@edge-dit/runtime/pipeline';
import { sha256Hex } from '@edge-dit/runtime/verify';
import type { JobAnswer } from '../api/answers.ts';
import type { ProblemDetails } from '../problem.ts';

export type JobStatus = JobAnswer['status'];

export interface JobPicture {
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  /** Name of its bytes in the store. */
  readonly blob: string;
}

/** What was asked, settled. */
export interface JobDraft {
  readonly id: string;
  /** Name of the key that may see it. */
  readonly owner: string;
  readonly model: string;
  /** SHA-256 of the manifest when it was asked. */
  readonly modelDigest: string;
  readonly request: GenerateRequest;
  /** SHA-256 of what was sent, by which a repeated idempotency key is checked. */
  readonly asked: string;
  readonly n: number;
  readonly steps: number;
  readonly guidance: number;
  /** Name of the address that is told of its end. */
  readonly webhook?: string;
}

export interface JobRecord extends Omit<JobDraft, 'webhook'> {
  readonly version: 1;
  readonly status: JobStatus;
  /** Milliseconds since 1970, as all times here. */
  readonly createdAt: number;
  readonly startedAt?: number;
  readonly completedAt?: number;
  readonly expiresAt?: number;
  /** Those that are finished, in the order of their seeds. */
  readonly pictures: readonly JobPicture[];
  /** Steps of the picture under way that are stored, in the blob named `checkpoint`. */
  readonly step: number;
  readonly checkpoint?: string;
  /** Milliseconds of a step, as last measured; 0 where the clock stands still while computing. */
  readonly stepMs: number;
  /** Times that it was taken up since it last got further. */
  readonly starts: number;
  readonly error?: ProblemDetails;
  readonly webhook?: { readonly name: string; readonly state: 'due' | 'told' | 'given-up'; readonly tries: number };
}

/** What is under way and not stored yet. */
export interface JobLive {
  /** Steps done of the picture under way. */
  readonly step: number;
  /** PNG, and the step that it is of. */
  readonly preview?: {
    readonly png: Uint8Array;
    readonly width: number;
    readonly height: number;
    readonly step: number;
  };
}

export const newJob = ({ webhook, ...draft }: JobDraft, now: number): JobRecord => ({
  ...draft,
  version: 1,
  status: 'queued',
  createdAt: now,
  pictures: [],
  step: 0,
  stepMs: 0,
  starts: 0,
  webhook: webhook === undefined ? undefined : { name: webhook, state: 'due', tries: 0 },
});

export const hasEnded = ({ status }: Pick<JobRecord, 'status'>) => status !== 'queued' && status !== 'running';

/** With an idempotency key the same id each time, for the same owner. */
export async function jobId(owner: string, idempotencyKey: string | undefined): Promise<string> {
  const text = `${owner}\n${idempotencyKey ?? crypto.randomUUID()}`;
  return (await sha256Hex(new TextEncoder().encode(text))).slice(0, 32);
}

export const JOB_ID = /^[0-9a-f]{32}$/;

export function jobAnswer(job: JobRecord, live?: JobLive): JobAnswer {
  const time = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  const ended = hasEnded(job);
  return {
    id: job.id,
    status: job.status,
    model: job.model,
    model_digest: job.modelDigest,
    steps: job.steps,
    guidance: job.guidance,
    seeds: Array.from({ length: job.n }, (_, i) => job.request.seed + i),
    created_at: time(job.createdAt)!,
    started_at: time(job.startedAt),
    completed_at: time(job.completedAt),
    expires_at: time(job.expiresAt),
    progress: {
      pictures: job.pictures.length,
      step: job.pictures.length === job.n ? job.steps : ended ? job.step : Math.max(job.step, live?.step ?? 0),
      of: job.steps,
    },
    error: job.error ?? null,
    urls: { self: `/jobs/${job.id}`, result: `/jobs/${job.id}/result` },
  };
}
