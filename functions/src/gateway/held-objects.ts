/**
 * Verified objects in memory, for as many clients as ask for them. In: a store. Out: an object's bytes, until they are given
 * back. Clients that ask at the same time share one fetch; what nobody uses is kept while there is room.
 */
import { type Expected, type Fetched, fetchObject } from '@edge-dit/runtime/fetch';
import { Meter } from '@edge-dit/runtime/meter';
import type { Store } from '@edge-dit/runtime/stores/store';

interface Entry {
  readonly fetching: Promise<Fetched>;
  /** When it has come. */
  fetched?: Fetched;
  users: number;
}

export interface HeldObject {
  readonly bytes: Uint8Array;
  /** To be called once: when the bytes were sent, or will not be. */
  readonly release: () => void;
}

export class HeldObjects {
  readonly meter: Meter;
  readonly #store: Store;
  /** Those used last come last. */
  readonly #entries = new Map<string, Entry>();

  constructor(store: Store, budget: number) {
    this.#store = store;
    this.meter = new Meter(budget);
  }

  /** @throws EdgeDitError `memory-exceeded` while others use all that may be held, and those of `fetchObject` */
  async use(key: string, expected: Expected): Promise<HeldObject> {
    const entry = this.#entries.get(key) ?? this.#fetch(key, expected);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.users++;
    try {
      const { object } = await entry.fetching;
      return { bytes: object.bytes, release: () => void entry.users-- };
    } catch (error) {
      entry.users--;
      throw error;
    }
  }

  /** A client that leaves does not end the fetch: others may wait for it, and the next one will ask again. */
  #fetch(key: string, expected: Expected): Entry {
    this.#makeRoom(expected.length);
    const entry: Entry = { fetching: fetchObject(this.#store, key, expected, { meter: this.meter }), users: 0 };
    entry.fetching.then(
      (fetched) => {
        entry.fetched = fetched;
      },
      () => this.#entries.delete(key),
    );
    return entry;
  }

  #makeRoom(bytes: number): void {
    for (const [key, { users, fetched }] of this.#entries) {
      if (this.meter.current + bytes <= this.meter.budget) return;
      if (users > 0 || fetched === undefined) continue;
      this.#entries.delete(key);
      fetched.release();
    }
  }
}
