/** One at a time, in the order of arrival, and only so many waiting: an isolate has one thread and one memory budget. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { Problem } from './problem.ts';
import { stayAwake } from './stay-awake.ts';

export class Turns {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #taken = false;
  /** Of the last turn, for the advice when to come back. */
  #lastMs = 1000;

  /** @param limit how many may wait */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Runs `work` when its turn comes.
   * @throws Problem `busy` when too many wait already; EdgeDitError `aborted` when the signal says so before the turn came
   */
  async take<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#taken) await stayAwake(this.#wait(signal));
    this.#taken = true;
    const start = Date.now();
    try {
      return await work();
    } finally {
      this.#lastMs = Date.now() - start;
      const next = this.#waiting.shift();
      // The turn is handed over, not given back: nobody who comes between can take it.
      if (next) next();
      else this.#taken = false;
    }
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.length >= this.#limit) {
      const seconds = Math.max(1, Math.ceil((this.#lastMs * (this.#waiting.length + 1)) / 1000));
      throw new Problem('busy', `${this.#limit} requests are waiting already; come back in ${seconds} s.`, {
        headers: { 'retry-after': String(seconds) },
      });
    }
    return new Promise((resolve, reject) => {
      const come = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(come), 1);
        reject(new EdgeDitError('aborted', 'the client left while the request was waiting.'));
      };
      if (signal?.aborted) return reject(new EdgeDitError('aborted', 'the client left before the request began.'));
      signal?.addEventListener('abort', leave, { once: true });
      this.#waiting.push(come);
    });
  }
}
