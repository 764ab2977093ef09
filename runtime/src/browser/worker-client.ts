/**
 * The page's side of a worker that generates: the page stays responsive, and threads may be used. Calls may be cancelled by
 * their signals; what fails in the worker fails here, with the same code.
 */
import { EdgeDitError } from '../errors.ts';
import type { CallName, Calls, FromWorker, Progress, ToWorker } from './protocol.ts';

/** The part of a `Worker` that is used. */
export interface WorkerLike {
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: ToWorker): void;
  terminate(): void;
}

export interface CallHooks {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

interface Waiting {
  readonly hooks: CallHooks;
  readonly resolve: (result: never) => void;
  readonly reject: (error: EdgeDitError) => void;
}

export class WorkerClient {
  readonly #worker: WorkerLike;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;
  #ended: string | undefined;

  /** @param worker that runs `pipeline-worker` */
  constructor(worker: WorkerLike) {
    this.#worker = worker;
    worker.onmessage = ({ data }) => this.#answer(data);
    worker.onerror = ({ message }) => this.#end(message || 'its module could not be loaded');
  }

  /** Opens a model and makes it ready, in the place of the one before. */
  load(options: Calls['load']['sent'], hooks: CallHooks = {}): Promise<Calls['load']['result']> {
    return this.#call('load', options, hooks);
  }

  generate(request: Calls['generate']['sent'], hooks: CallHooks = {}): Promise<Calls['generate']['result']> {
    return this.#call('generate', request, hooks);
  }

  /** What this browser keeps, last used first. */
  models(): Promise<Calls['models']['result']> {
    return this.#call('models', undefined, {});
  }

  async remove(model: string): Promise<void> {
    await this.#call('remove', model, {});
  }

  close(): void {
    this.#worker.terminate();
    this.#end('it was closed');
  }

  #call<Name extends CallName>(
    call: Name,
    sent: Calls[Name]['sent'],
    hooks: CallHooks,
  ): Promise<Calls[Name]['result']> {
    const id = ++this.#last;
    const { signal } = hooks;
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(gone(this.#ended));
      if (signal?.aborted) return reject(new EdgeDitError('aborted', `${call} was cancelled before it began.`));
      this.#waiting.set(id, { hooks, resolve, reject });
      signal?.addEventListener('abort', () => {
        if (this.#waiting.has(id)) this.#worker.postMessage({ id, call: 'cancel' });
      });
      this.#worker.postMessage({ id, call, sent } as ToWorker);
    });
  }

  #answer(message: FromWorker): void {
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    if ('progress' in message) {
      waiting.hooks.onProgress?.(message.progress);
      return;
    }
    this.#waiting.delete(message.id);
    if ('error' in message) waiting.reject(new EdgeDitError(message.error.code, message.error.message));
    else waiting.resolve(message.result as never);
  }

  #end(reason: string): void {
    this.#ended ??= reason;
    for (const { reject } of this.#waiting.values()) reject(gone(this.#ended));
    this.#waiting.clear();
  }
}

const gone = (reason: string) =>
  new EdgeDitError('engine-unavailable', `the worker that generates has ended: ${reason}.`);
