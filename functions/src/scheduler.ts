/**
 * Whose turn it is. An isolate has one thread and one memory budget, so one works at a time; the others wait, only so
 * many, and keys take turns among themselves: who asks for a hundred pictures does not keep out who asks for one.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { Problem } from './problem.ts';
import { stayAwake } from './stay-awake.ts';

export interface SchedulerLimits {
  /** How many may wait, of all keys together. */
  readonly waiting: number;
  /** And of one key. */
  readonly waitingPerKey: number;
}

export interface EnterOptions {
  readonly signal?: AbortSignal;
  /** Was let in before, waits however many wait, and is not counted: work that goes on, such as the next steps of a job. */
  readonly admitted?: boolean;
}

interface Waiting {
  readonly come: () => void;
  readonly admitted: boolean;
}

/** A place in the queue. */
export interface Place {
  /** Comes when it is this place's turn; rejects with `aborted` when the signal says so before. */
  readonly turn: Promise<void>;
  /** Gives the turn, or the place, to the next. */
  leave(): void;
}

export class Scheduler {
  readonly #limits: SchedulerLimits;
  /** Who waits, by key, in the order in which keys have their turns. */
  readonly #queues = new Map<string, Waiting[]>();
  #running = 0;
  #waiting = 0;
  /** Of the last turn, for the advice when to come back. */
  #lastMs = 1000;

  constructor(limits: SchedulerLimits) {
    this.#limits = limits;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** @throws Problem `busy` when too many wait, `too-many-requests` when too many of this key do */
  enter(key: string, { signal, admitted = false }: EnterOptions = {}): Place {
    if (signal?.aborted) throw new EdgeDitError('aborted', 'the client left before the request began.');
    if (this.#running === 0) return { turn: Promise.resolve(), leave: this.#begin() };
    if (!admitted) this.#refuseWhenFull(key);
    let leave = () => {};
    const turn = new Promise<void>((resolve, reject) => {
      const come = () => {
        signal?.removeEventListener('abort', abort);
        leave = this.#begin();
        resolve();
      };
      const abort = () => {
        leave();
        reject(new EdgeDitError('aborted', 'the client left while the request was waiting.'));
      };
      leave = () => {
        signal?.removeEventListener('abort', abort);
        this.#remove(key, come);
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#queues.set(key, [...(this.#queues.get(key) ?? []), { come, admitted }]);
      if (!admitted) this.#waiting++;
    });
    // Who does not wait for the turn must not be told of its end as of an error that nobody handles.
    turn.catch(() => {});
    return { turn: stayAwake(turn), leave: () => leave() };
  }

  /** Runs `work` when its turn comes. @throws what `enter` does, and EdgeDitError `aborted` before the turn came */
  async take<T>(key: string, work: () => Promise<T>, options?: EnterOptions): Promise<T> {
    const place = this.enter(key, options);
    try {
      await place.turn;
      return await work();
    } finally {
      place.leave();
    }
  }

  #begin(): () => void {
    this.#running = 1;
    const start = Date.now();
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#lastMs = Date.now() - start;
      this.#running = 0;
      // The turn is handed over, not given back: nobody who comes between can take it.
      this.#next()?.come();
    };
  }

  /** The first of the key whose turn it is; the key goes to the end of the round. */
  #next(): Waiting | undefined {
    for (const [key, queue] of this.#queues) {
      const [first, ...rest] = queue;
      this.#queues.delete(key);
      if (rest.length > 0) this.#queues.set(key, rest);
      if (!first.admitted) this.#waiting--;
      return first;
    }
    return undefined;
  }

  #remove(key: string, come: () => void): void {
    const queue = this.#queues.get(key) ?? [];
    const found = queue.find((waiting) => waiting.come === come);
    if (found === undefined) return;
    if (!found.admitted) this.#waiting--;
    const rest = queue.filter((other) => other !== found);
    if (rest.length > 0) this.#queues.set(key, rest);
    else this.#queues.delete(key);
  }

  #refuseWhenFull(key: string): void {
    const seconds = (places: number) => String(Math.min(600, Math.max(1, Math.ceil((this.#lastMs * places) / 1000))));
    if (this.#waiting >= this.#limits.waiting) {
      const after = seconds(this.#waiting + 1);
      throw new Problem('busy', `${this.#waiting} requests are waiting already; come back in ${after} s.`, {
        headers: { 'retry-after': after },
      });
    }
    const own = this.#queues.get(key)?.length ?? 0;
    if (own >= this.#limits.waitingPerKey) {
      const after = seconds((own + 1) * Math.max(1, this.#queues.size));
      throw new Problem('too-many-requests', `${own} requests of yours are waiting already; come back in ${after} s.`, {
        headers: { 'retry-after': after },
      });
    }
  }
}
