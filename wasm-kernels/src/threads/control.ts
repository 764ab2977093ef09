/**
 * The block of shared integers by which the threads of one engine work together.
 *
 * A call is cut into chunks. The ticket holds a number of the call and how many of its chunks nobody has claimed; a
 * thread claims one by lowering it, and may read the chunk's arguments from then on, because the next call is not
 * written before every chunk of this one is finished. So a thread that sleeps, or is late, is not waited for.
 */

/** Bounds what a call can be cut into. */
export const MAX_CHUNKS = 63;
const MAX_ARGUMENTS = 16;
const CHUNK_MASK = 63;

/** Words that threads write often lie in cache lines of their own. */
const LINE = 16;
const TICKET = 0;
const PENDING = LINE;
const SLEEPERS = 2 * LINE;
const WAITING = 3 * LINE;
const STOP = 4 * LINE;
const CALL = 5 * LINE;
const FAILURE = 6 * LINE;
const FAILURE_LETTERS = 255;
const ARGUMENTS = FAILURE + LINE * Math.ceil((1 + FAILURE_LETTERS) / LINE);
const BYTES = 4 * ARGUMENTS + 8 * MAX_ARGUMENTS * MAX_CHUNKS;

/** How long a thread looks for work before it sleeps: longer than what lies between two kernels of a network. */
const SPIN_MS = 0.03;
const LOOKS = 32;

/** Newer engines have it; it leaves the core to the other thread that runs on it. */
const pause = (Atomics as { pause?: () => void }).pause ?? (() => {});

export type Claim = { readonly kernel: number; readonly scratchIndex: number; readonly chunk: number };

export class Control {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** A float64 holds every int32 and float32. */
  readonly #arguments: Float64Array;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(BYTES)) {
    this.shared = shared;
    this.#words = new Int32Array(shared, 0, ARGUMENTS);
    this.#arguments = new Float64Array(shared, 4 * ARGUMENTS);
  }

  /** By the calling thread, after `finished`: chunks for whoever claims them. */
  publish(kernel: number, scratchIndex: number, chunks: readonly (readonly number[])[]): void {
    const words = this.#words;
    words[CALL] = kernel;
    words[CALL + 1] = scratchIndex;
    words[CALL + 2] = chunks[0].length;
    for (let c = 0; c < chunks.length; c++) {
      const chunk = chunks[c];
      for (let i = 0; i < chunk.length; i++) this.#arguments[c * MAX_ARGUMENTS + i] = chunk[i];
    }
    Atomics.store(words, PENDING, chunks.length);
    this.#next(chunks.length);
  }

  #next(chunks: number): void {
    const call = (this.#words[TICKET] | CHUNK_MASK) + 1;
    Atomics.store(this.#words, TICKET, call | chunks);
    if (Atomics.load(this.#words, SLEEPERS) > 0) Atomics.notify(this.#words, TICKET);
  }

  claim(): Claim | undefined {
    const words = this.#words;
    for (;;) {
      const ticket = Atomics.load(words, TICKET);
      const left = ticket & CHUNK_MASK;
      if (left === 0) return undefined;
      if (Atomics.compareExchange(words, TICKET, ticket, ticket - 1) === ticket) {
        return { kernel: words[CALL], scratchIndex: words[CALL + 1], chunk: left - 1 };
      }
    }
  }

  argumentsOf({ chunk }: Claim): number[] {
    const from = chunk * MAX_ARGUMENTS;
    const to = from + this.#words[CALL + 2];
    const args: number[] = [];
    // Faster than copying a view.
    for (let i = from; i < to; i++) args.push(this.#arguments[i]);
    return args;
  }

  /** A claimed chunk is done. */
  finish(): void {
    if (Atomics.sub(this.#words, PENDING, 1) === 1 && Atomics.load(this.#words, WAITING) > 0) {
      Atomics.notify(this.#words, PENDING);
    }
  }

  /**
   * By the calling thread, which has found nothing more to claim: until all chunks are done. False when the others have
   * finished nothing for `patienceMs`.
   */
  finished(patienceMs: number, maySleep: boolean): boolean {
    const words = this.#words;
    if (this.#spin(PENDING, (pending) => pending === 0)) return true;
    let since = performance.now();
    let last = -1;
    for (;;) {
      const pending = Atomics.load(words, PENDING);
      if (pending === 0) return true;
      if (pending !== last) [last, since] = [pending, performance.now()];
      else if (performance.now() - since > patienceMs) return false;
      if (maySleep) {
        Atomics.store(words, WAITING, 1);
        Atomics.wait(words, PENDING, pending, patienceMs / 4);
        Atomics.store(words, WAITING, 0);
      } else this.#spin(PENDING, (now) => now !== pending);
    }
  }

  /** By a worker: until there may be something to claim. */
  idle(): void {
    const words = this.#words;
    if (this.#spin(TICKET, (ticket) => (ticket & CHUNK_MASK) !== 0)) return;
    Atomics.add(words, SLEEPERS, 1);
    const ticket = Atomics.load(words, TICKET);
    if ((ticket & CHUNK_MASK) === 0 && !this.stopped) Atomics.wait(words, TICKET, ticket);
    Atomics.sub(words, SLEEPERS, 1);
  }

  #spin(word: number, until: (value: number) => boolean): boolean {
    const end = performance.now() + SPIN_MS;
    do {
      for (let i = 0; i < LOOKS; i++) {
        if (until(Atomics.load(this.#words, word))) return true;
        pause();
      }
    } while (performance.now() < end);
    return false;
  }

  get stopped(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }

  /** Ends the workers, once they are idle. */
  stop(): void {
    Atomics.store(this.#words, STOP, 1);
    // A new ticket, so that none falls asleep on the old one.
    this.#next(0);
  }

  /** What a worker raised while it ran a chunk; undefined when all is well. */
  get failure(): string | undefined {
    const length = Atomics.load(this.#words, FAILURE);
    return length === 0 ? undefined : String.fromCharCode(...this.#words.subarray(FAILURE + 1, FAILURE + 1 + length));
  }

  fail(message: string): void {
    const text = (message || 'unknown').slice(0, FAILURE_LETTERS);
    for (let i = 0; i < text.length; i++) this.#words[FAILURE + 1 + i] = text.charCodeAt(i);
    Atomics.store(this.#words, FAILURE, text.length);
  }
}
