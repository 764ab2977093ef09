/**
 * Counts the bytes that the runtime holds (wasm memories and typed arrays) against a budget. Hosts enforce
 * memory by killing the isolate; the meter refuses before that, with an error that says what did not fit.
 */
import { EdgeDitError } from './errors.ts';

/** What a Cloudflare Worker may hold, heap and wasm memory together. */
export const DEFAULT_BUDGET_BYTES = 128 * 2 ** 20;

export class Meter {
  readonly budget: number;
  #current = 0;
  #peak = 0;
  readonly #held = new Map<string, number>();

  constructor(budget = DEFAULT_BUDGET_BYTES) {
    this.budget = budget;
  }

  get current(): number {
    return this.#current;
  }

  get peak(): number {
    return this.#peak;
  }

  /** Bytes held now, by what holds them. */
  get held(): ReadonlyMap<string, number> {
    return this.#held;
  }

  /** Takes `bytes` for `what`; call the result once to give them back. Call it before allocating. */
  take(what: string, bytes: number): () => void {
    if (this.#current + bytes > this.budget) {
      throw new EdgeDitError(
        'memory-exceeded',
        `${what} needs ${bytes} bytes, but ${this.#current} of the budget of ${this.budget} are in use; raise the budget or choose a smaller model or fewer bits.`,
      );
    }
    this.#add(what, bytes);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#add(what, -bytes);
    };
  }

  /** Counts bytes that something else allocated already; raises `memory-exceeded` afterwards when they are too many. */
  record(what: string, bytes: number): void {
    this.#add(what, bytes);
    if (this.#current <= this.budget) return;
    throw new EdgeDitError(
      'memory-exceeded',
      `${what} grew to ${this.#held.get(what)} bytes, and all together hold ${this.#current} of a budget of ${this.budget}; raise the budget or choose a smaller model.`,
    );
  }

  #add(what: string, bytes: number): void {
    this.#current += bytes;
    this.#peak = Math.max(this.#peak, this.#current);
    const left = (this.#held.get(what) ?? 0) + bytes;
    if (left === 0) this.#held.delete(what);
    else this.#held.set(what, left);
  }
}
