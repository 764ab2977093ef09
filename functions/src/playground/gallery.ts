/** The pictures of this browser, newest first: kept in IndexedDB where there is one, and for the visit where there is none. */
import { clear, createStore, del, entries, set } from 'idb-keyval';
import type { Settings } from './endpoint.ts';

export interface Entry {
  readonly id: string;
  /** Milliseconds since 1970: the order. */
  readonly time: number;
  readonly picture: Blob;
  readonly settings: Settings;
  /** As it is read out: the prompt, or the class. */
  readonly subject: string;
  /** Milliseconds. */
  readonly took: number;
}

/** More are forgotten, oldest first. */
const MAX_ENTRIES = 60;

const store = (() => {
  try {
    return createStore('edge-dit', 'gallery');
  } catch {
    return undefined;
  }
})();
let all: Entry[] = [];

/** Private windows refuse to keep things; the pictures of the visit are there anyway. */
const attempt = async <T>(work: (at: NonNullable<typeof store>) => Promise<T>): Promise<T | undefined> => {
  try {
    return store && (await work(store));
  } catch {
    return undefined;
  }
};

export async function openGallery(): Promise<readonly Entry[]> {
  const kept = (await attempt((at) => entries<string, Entry>(at))) ?? [];
  all = kept.map(([, entry]) => entry).sort((a, b) => b.time - a.time);
  return all;
}

export async function keep(entry: Entry): Promise<readonly Entry[]> {
  const dropped = [entry, ...all].slice(MAX_ENTRIES);
  all = [entry, ...all].slice(0, MAX_ENTRIES);
  await attempt((at) => set(entry.id, entry, at));
  for (const { id } of dropped) await attempt((at) => del(id, at));
  return all;
}

export async function forget(): Promise<readonly Entry[]> {
  all = [];
  await attempt((at) => clear(at));
  return all;
}
