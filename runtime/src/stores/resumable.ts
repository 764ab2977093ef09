/**
 * A store whose broken downloads go on where they stopped, in the next try as in the next visit. In: a store and a place
 * for parts. What arrives of a content-addressed object is kept; asked again, it comes first and only the rest is fetched.
 * Parts are no cache: they are unverified, and the reader verifies the whole as always. An object that was verified (`keep`),
 * or found wrong (`fresh`), leaves none.
 */
import { EdgeDitError } from '../errors.ts';
import { digestOfKey } from '../format/keys.ts';
import type { VerifiedObject } from '../verify.ts';
import type { Part, Parts } from './parts.ts';
import type { GetOptions, Store, StoredObject } from './store.ts';

export interface ResumableOptions {
  /** Is told what could not be kept; the download goes on without. */
  readonly onError?: (error: unknown) => void;
}

export function resumable(store: Store, parts: Parts, { onError = () => {} }: ResumableOptions = {}): Store {
  const downloads = new Map<string, Download>();
  const downloadOf = (key: string) => {
    const known = downloads.get(key) ?? new Download(key, parts, onError);
    downloads.set(key, known);
    return known;
  };
  return {
    name: store.name,
    async get(key: string, asked: GetOptions = {}): Promise<StoredObject | undefined> {
      const { range, fresh } = asked;
      if (digestOfKey(key) === undefined || range?.length !== undefined) return store.get(key, asked);
      const download = downloadOf(key);
      if (fresh) await download.forget();
      const offset = range?.offset ?? 0;
      await download.enter();
      try {
        const first = offset === 0 && !fresh ? await download.read(0) : undefined;
        if (first !== undefined) return { body: bodyOf(store, key, asked, download, { first }) };
        const stored = await store.get(key, asked);
        if (stored === undefined) await download.leave();
        return stored && { ...stored, body: bodyOf(store, key, asked, download, { rest: stored.body, offset }) };
      } catch (error) {
        await download.leave();
        throw error;
      }
    },
    async keep(key: string, object: VerifiedObject): Promise<void> {
      await store.keep?.(key, object);
      await downloads.get(key)?.forget();
      downloads.delete(key);
    },
  };
}

/** What is kept of one object: bytes 0 to `#end`. Its part is open while somebody reads or fetches it. */
class Download {
  readonly #key: string;
  readonly #parts: Parts;
  readonly #onError: (error: unknown) => void;
  #part: Promise<Part | undefined> | undefined;
  #open: Part | undefined;
  #users = 0;
  #end = 0;

  constructor(key: string, parts: Parts, onError: (error: unknown) => void) {
    this.#key = key;
    this.#parts = parts;
    this.#onError = onError;
  }

  async enter(): Promise<void> {
    this.#users++;
    this.#part ??= this.#parts.open(this.#key).catch((error) => {
      this.#onError(error);
      return undefined;
    });
    this.#open = await this.#part;
  }

  /** To be called once for each `enter`. */
  async leave(): Promise<void> {
    if (--this.#users > 0) return;
    await this.#close();
  }

  async read(at: number): Promise<Uint8Array | undefined> {
    try {
      const bytes = await this.#open?.read(at);
      if (bytes !== undefined) this.#end = Math.max(this.#end, at + bytes.length);
      return bytes;
    } catch (error) {
      this.#onError(error);
      return undefined;
    }
  }

  /** Bytes that arrived. Those that another request for the same brought already are dropped, and those after a gap. */
  add(position: number, bytes: Uint8Array): void {
    if (this.#open === undefined || position > this.#end || position + bytes.length <= this.#end) return;
    const news = bytes.subarray(this.#end - position);
    try {
      this.#open.write(this.#end, news);
      this.#end += news.length;
    } catch (error) {
      // The place is full: what came after would leave a gap.
      this.#open = undefined;
      this.#onError(error);
    }
  }

  async forget(): Promise<void> {
    await this.#close();
    this.#end = 0;
    await this.#parts.delete(this.#key).catch((error) => this.#onError(error));
  }

  async #close(): Promise<void> {
    const part = this.#part;
    this.#part = undefined;
    this.#open = undefined;
    await (await part)?.close().catch((error) => this.#onError(error));
  }
}

/** What is kept first, then the rest from the store; what passes is kept. */
function bodyOf(
  store: Store,
  key: string,
  asked: GetOptions,
  download: Download,
  from: { readonly first: Uint8Array } | { readonly rest: ReadableStream<Uint8Array>; readonly offset: number },
): ReadableStream<Uint8Array> {
  let kept = 'first' in from ? from.first : undefined;
  let rest = 'rest' in from ? from.rest.getReader() : undefined;
  let at = 'rest' in from ? from.offset : 0;
  let left = false;
  const leave = async () => {
    if (left) return;
    left = true;
    await download.leave();
  };
  const next = async (): Promise<Uint8Array | undefined> => {
    if (rest === undefined) {
      kept ??= await download.read(at);
      const bytes = kept;
      kept = undefined;
      if (bytes !== undefined) return bytes;
      const stored = await store.get(key, { ...asked, range: { offset: at } });
      if (stored === undefined) {
        throw new EdgeDitError('object-missing', `${store.name}: ${key} is gone; publish the model again.`);
      }
      rest = stored.body.getReader();
    }
    const { value } = await rest.read();
    if (value !== undefined) download.add(at, value);
    return value;
  };
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const bytes = await next();
          if (bytes === undefined) {
            await leave();
            return controller.close();
          }
          at += bytes.length;
          controller.enqueue(bytes);
        } catch (error) {
          await leave();
          throw error;
        }
      },
      async cancel(cause) {
        await leave();
        await rest?.cancel(cause);
      },
    },
    { highWaterMark: 0 },
  );
}
