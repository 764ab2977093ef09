/**
 * Several places that have the same objects, as one store: gateways nearby, and S3 for when they fail. In: stores. Out: a
 * store that asks the nearest by measured latency, the next one where it fails, stalls, lacks the object or gives wrong
 * bytes, and the last resort last. What comes is verified by the reader as always, so no origin need be trusted.
 */
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import type { GetOptions, Store, StoredObject } from './store.ts';
import { throwIfAborted } from './store-error.ts';

export interface GatewayStoreOptions {
  /** Asked when every other one failed, whatever its latency. */
  readonly last?: Store;
  /** How long one that failed comes after the others, in milliseconds. Default 30,000. */
  readonly penaltyMs?: number;
  /** Milliseconds of any origin. */
  readonly now?: () => number;
}

export interface OriginState {
  readonly name: string;
  /** Milliseconds to its first answer; undefined before that. */
  readonly latencyMs: number | undefined;
  readonly failing: boolean;
}

interface Origin {
  readonly store: Store;
  readonly last: boolean;
  latencyMs: number | undefined;
  /** It comes after the others until then. */
  failingUntil: number;
  /** Keys that it is sending now. */
  readonly sending: Map<string, number>;
}

const PENALTY_MS = 30_000;
/** An origin on the same network answers in a few; one that does not in this time is as good as absent. */
const MEASURE_MS = 2000;
/** A request that is dropped after so long without a byte was dropped because of it. */
const STALLED_MS = 1000;
/** Keys whose origin is remembered, in case the bytes are wrong. */
const MAX_REMEMBERED = 1024;

export class GatewayStore implements Store {
  readonly name: string;
  readonly #origins: readonly Origin[];
  readonly #now: () => number;
  readonly #penaltyMs: number;
  /** Which origin sent what last. */
  readonly #sent = new Map<string, Origin>();
  #measured: Promise<void> | undefined;

  constructor(near: readonly Store[], { last, penaltyMs = PENALTY_MS, now }: GatewayStoreOptions = {}) {
    const origin = (store: Store, isLast: boolean): Origin => {
      return { store, last: isLast, latencyMs: undefined, failingUntil: Number.NEGATIVE_INFINITY, sending: new Map() };
    };
    this.#origins = [...near.map((store) => origin(store, false)), ...(last ? [origin(last, true)] : [])];
    if (this.#origins.length === 0) throw new EdgeDitError('invalid-argument', 'a gateway store needs an origin.');
    this.name = this.#origins.map(({ store }) => store.name).join(' or ');
    this.#now = now ?? (() => performance.now());
    this.#penaltyMs = penaltyMs;
  }

  /** In the order in which they are asked. */
  get origins(): readonly OriginState[] {
    return this.#order('').map(({ store, latencyMs, failingUntil }) => {
      return { name: store.name, latencyMs, failing: failingUntil > this.#now() };
    });
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject | undefined> {
    this.#measured ??= this.#measure(key);
    await this.#measured;
    throwIfAborted(options.signal, `${this.name}: get ${key}`);
    // What it sent was wrong: a damaged cache, or worse.
    const wrong = options.fresh ? this.#sent.get(key) : undefined;
    if (wrong) this.#fail(wrong);
    let failure: unknown;
    for (const origin of this.#order(key)) {
      const sending = this.#begin(origin, key);
      try {
        const stored = await origin.store.get(key, options);
        if (stored !== undefined) return this.#follow(origin, key, stored, sending, options.signal);
        sending.end();
      } catch (error) {
        sending.end();
        if (isEdgeDitError(error, 'invalid-argument')) throw error;
        if (!options.signal?.aborted || sending.stalled()) this.#fail(origin);
        if (options.signal?.aborted) throw error;
        failure ??= error;
      }
    }
    // Where one could not be asked, the object may be there.
    if (failure !== undefined) throw failure;
    return undefined;
  }

  /** Asks all that are near at once; ends with the first answer, and the others are measured as they come. */
  async #measure(key: string): Promise<void> {
    const near = this.#origins.filter(({ last }) => !last);
    if (this.#origins.length < 2) return;
    const start = this.#now();
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), MEASURE_MS);
    const answers = near.map(async (origin) => {
      try {
        const stored = await untilAborted(
          origin.store.get(key, { range: { offset: 0, length: 1 }, signal: late.signal }),
          late.signal,
        );
        origin.latencyMs = this.#now() - start;
        await stored?.body.cancel();
      } catch (error) {
        this.#fail(origin);
        throw error;
      }
    });
    Promise.allSettled(answers).then(() => clearTimeout(timer));
    await Promise.any(answers).catch(() => {});
  }

  /** Working before failing, idle before sending this very key (where it stalls), near before last, then by latency. */
  #order(key: string): Origin[] {
    const now = this.#now();
    const rank = ({ last, failingUntil, sending, latencyMs = Number.MAX_VALUE }: Origin) =>
      [Number(failingUntil > now), Number(sending.has(key)), Number(last), latencyMs] as const;
    const ranked = this.#origins.map((origin) => ({ origin, rank: rank(origin) }));
    ranked.sort((a, b) => {
      const at = a.rank.findIndex((value, i) => value !== b.rank[i]);
      return at < 0 ? 0 : a.rank[at] - b.rank[at];
    });
    return ranked.map(({ origin }) => origin);
  }

  #fail(origin: Origin): void {
    origin.failingUntil = this.#now() + this.#penaltyMs;
  }

  #begin({ sending }: Origin, key: string): Sending {
    sending.set(key, (sending.get(key) ?? 0) + 1);
    let lastByte = this.#now();
    return {
      byte: () => {
        lastByte = this.#now();
      },
      stalled: () => this.#now() - lastByte >= STALLED_MS,
      end: () => {
        const others = (sending.get(key) ?? 1) - 1;
        if (others === 0) sending.delete(key);
        else sending.set(key, others);
      },
    };
  }

  /** The object with its body watched: whether it ends, breaks off, or is dropped because nothing comes. */
  #follow(origin: Origin, key: string, stored: StoredObject, sending: Sending, signal?: AbortSignal): StoredObject {
    this.#sent.delete(key);
    this.#sent.set(key, origin);
    for (const oldest of this.#sent.keys()) if (this.#sent.size > MAX_REMEMBERED) this.#sent.delete(oldest);
    const reader = stored.body.getReader();
    let dropped = false;
    const drop = (cause: unknown) => {
      dropped = true;
      sending.end();
      if (sending.stalled()) this.#fail(origin);
      return reader.cancel(cause);
    };
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
      try {
        const { done, value } = await reader.read();
        if (dropped) return;
        sending.byte();
        if (!done) return controller.enqueue(value);
        sending.end();
        controller.close();
      } catch (error) {
        if (dropped) return;
        sending.end();
        if (!signal?.aborted || sending.stalled()) this.#fail(origin);
        controller.error(error);
      }
    };
    return { ...stored, body: new ReadableStream({ pull, cancel: drop }, { highWaterMark: 0 }) };
  }
}

/** A request under way. */
interface Sending {
  readonly byte: () => void;
  /** Nothing came for long. */
  readonly stalled: () => boolean;
  /** To be called once. */
  readonly end: () => void;
}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}
