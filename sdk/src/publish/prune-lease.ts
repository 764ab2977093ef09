/**
 * That a prune runs, as an object of the store, so that nothing is published on top of what is being deleted. Its holder
 * writes it anew all the time and stops before it could be taken for dead; others watch whether it changes, by their own
 * clock. So it needs no clock in common, and a process that was killed blocks nobody for longer than the lease.
 */
import { randomUUID } from 'node:crypto';
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { PRUNE_KEY } from '@edge-dit/runtime/format/keys';
import type { PutOptions, WritableStore } from '@edge-dit/runtime/stores/store';

/** Unchanged for so long, its holder is dead. */
export const LEASE_MS = 30_000;
const POLLS = 60;
const BEATS = 10;

export interface LeaseOptions {
  readonly signal?: AbortSignal;
  /** Of holders and watchers alike. Default 30 s. */
  readonly leaseMs?: number;
}

export class PruneLease {
  readonly #store: WritableStore;
  readonly #leaseMs: number;
  readonly #heartbeat: NodeJS.Timeout;
  #etag: string;
  #renewed: number;
  #renewing: Promise<void> | undefined;
  #lost = false;

  private constructor(store: WritableStore, leaseMs: number, etag: string, renewed: number) {
    this.#store = store;
    this.#leaseMs = leaseMs;
    this.#etag = etag;
    this.#renewed = renewed;
    this.#heartbeat = setInterval(() => void this.#renew(), leaseMs / BEATS);
  }

  /** @throws EdgeDitError `precondition-failed` while another prune runs */
  static async take(store: WritableStore, { signal, leaseMs = LEASE_MS }: LeaseOptions = {}): Promise<PruneLease> {
    const there = await store.head(PRUNE_KEY, { signal });
    const state = there === undefined ? 'gone' : await watch(store, there.etag, leaseMs, signal);
    const busy = (cause?: unknown) =>
      new EdgeDitError('precondition-failed', `${store.name}: another prune runs; wait until it is done.`, { cause });
    if (state === 'alive') throw busy();
    const before = Date.now();
    try {
      const etag = await write(store, state === 'dead' ? { ifMatch: there!.etag } : { ifNoneMatch: '*' });
      return new PruneLease(store, leaseMs, etag, before);
    } catch (error) {
      throw isEdgeDitError(error, 'precondition-failed') ? busy(error) : error;
    }
  }

  /** The time now, by the clock that dates the store's objects; somewhat early. */
  async storeTime(): Promise<number> {
    for await (const { key, modified } of this.#store.list(PRUNE_KEY)) if (key === PRUNE_KEY) return modified.getTime();
    throw this.#gone();
  }

  /** Does what must be over before the lease ends. @throws EdgeDitError `precondition-failed` where it was lost */
  async hold<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#age > this.#leaseMs / 3) await this.#renew();
    if (this.#lost || this.#age > this.#leaseMs / 3) throw this.#gone();
    return work(AbortSignal.timeout(Math.floor(this.#leaseMs / 3)));
  }

  async release(): Promise<void> {
    clearInterval(this.#heartbeat);
    await this.#renewing;
    // A lease that may be another's by now is not ours to end.
    if (!this.#lost && this.#age < this.#leaseMs / 3) await this.#store.delete(PRUNE_KEY);
  }

  get #age(): number {
    return Date.now() - this.#renewed;
  }

  /** One write at a time: each needs the etag of the one before. */
  #renew(): Promise<void> {
    this.#renewing ??= this.#writeAnew().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  /** A process that slept has lost it, although the object may be there as it was. */
  async #writeAnew(): Promise<void> {
    const before = Date.now();
    this.#lost ||= this.#age > (2 * this.#leaseMs) / 3;
    if (this.#lost) return;
    try {
      this.#etag = await write(this.#store, { ifMatch: this.#etag });
      this.#renewed = before;
    } catch (error) {
      // A store that fails now may answer the next time.
      this.#lost = isEdgeDitError(error, 'precondition-failed');
    }
  }

  #gone(): EdgeDitError {
    return new EdgeDitError(
      'precondition-failed',
      `${this.#store.name}: this prune was interrupted for too long to go on; prune again.`,
    );
  }
}

/** Returns when no prune runs: what was deleted until then can be seen, and who starts one later sees our manifest. */
export async function whenNoPruneRuns(
  store: WritableStore,
  { signal, leaseMs = LEASE_MS }: LeaseOptions = {},
): Promise<void> {
  for (;;) {
    const there = await store.head(PRUNE_KEY, { signal });
    if (there === undefined || (await watch(store, there.etag, leaseMs, signal)) !== 'alive') return;
  }
}

/** Each time other bytes: the etag of S3 is a digest of them. */
async function write(store: WritableStore, condition: PutOptions): Promise<string> {
  const bytes = new TextEncoder().encode(`{"prune":"${randomUUID()}"}\n`);
  return (await store.put(PRUNE_KEY, bytes, { ...condition, contentType: 'application/json' })).etag;
}

async function watch(
  store: WritableStore,
  etag: string,
  leaseMs: number,
  signal: AbortSignal | undefined,
): Promise<'alive' | 'dead' | 'gone'> {
  const end = Date.now() + leaseMs;
  while (Date.now() < end) {
    await new Promise((wake) => setTimeout(wake, leaseMs / POLLS));
    const now = await store.head(PRUNE_KEY, { signal });
    if (now?.etag !== etag) return now === undefined ? 'gone' : 'alive';
  }
  return 'dead';
}
