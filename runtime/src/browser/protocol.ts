/** What a page and the worker that generates for it say to each other: calls with a number, and answers to that number. */
import type { ErrorCode } from '../errors.ts';
import type { LoadProgress } from '../load-progress.ts';
import type { Picture } from '../picture.ts';
import type { Generated, GenerateRequest } from '../pipeline.ts';
import type { BrowserOptions } from './open-browser-pipeline.ts';
import type { StoredModel } from './stored-models.ts';

/** A model that is ready. */
export interface Loaded {
  readonly model: string;
  /** SHA-256 of the manifest. */
  readonly digest: string;
  /** Which, and why. */
  readonly engine: { readonly name: string; readonly notes: readonly string[] };
  readonly notes: readonly string[];
  /** What requests may leave out. */
  readonly defaults: { readonly steps: number; readonly guidance: number };
  /** Bytes of its shards. */
  readonly bytes: number;
}

export interface WorkerPicture extends Omit<Generated, 'values'> {
  readonly engine: Loaded['engine'];
  readonly notes: readonly string[];
  /** Bytes that the runtime holds after it, and at most held. */
  readonly memory: { readonly current: number; readonly peak: number };
}

export type Progress =
  | ({ readonly kind: 'load' } & LoadProgress)
  | { readonly kind: 'step'; readonly step: number; readonly steps: number; readonly preview?: Picture };

export interface WorkerRequest extends GenerateRequest {
  /** Pixels of the longer side of a preview after each step; no previews without it. */
  readonly previewSide?: number;
}

/** Each call: what is sent, and what it ends in. */
export interface Calls {
  load: { sent: BrowserOptions; result: Loaded };
  generate: { sent: WorkerRequest; result: WorkerPicture };
  /** What the browser keeps. */
  models: { sent: undefined; result: readonly StoredModel[] };
  /** Deletes a model from the browser, by name. */
  remove: { sent: string; result: undefined };
}

export type CallName = keyof Calls;

export type ToWorker =
  | { [Name in CallName]: { readonly id: number; readonly call: Name; readonly sent: Calls[Name]['sent'] } }[CallName]
  | { readonly id: number; readonly call: 'cancel' };

export type FromWorker =
  | { readonly id: number; readonly progress: Progress }
  | { readonly id: number; readonly result: Calls[CallName]['result'] }
  | { readonly id: number; readonly error: { readonly code: ErrorCode; readonly message: string } };
