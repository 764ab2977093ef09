/**
 * A store whose broken downloads go on where they stopped, in the next try as in the next visit. In: a store and a place
 * for pieces. What arrives of a content-addressed object is kept in pieces; asked again, they come first and only the rest
 * is fetched. Pieces are no cache: they are unverified, and the reader verifies the whole as always. An object that was
 * verified (`keep`), or found wrong (`fresh`), leaves no pieces.
 */
import { EdgeDitError } from '../errors.ts';
import { digestOfKey } from '../format/keys.ts';
import type { VerifiedObject } from '../verify.ts';
import type { CacheLike } from './cached.ts';
import type { GetOptions, Store, StoredObject } from './store.ts';

export interface ResumableOptions {
  /** Bytes after which what came is written down: a page that is killed loses at most so many of each object. Default 128 KiB. */
  readonly pieceBytes?: number;
  /** Is told what could not be kept; the download goes on without. */
  readonly onError?: (error: unknown) => void;
}

const PIECE_BYTES = 2 ** 17;

export function resumable(store: Store, pieces: CacheLike, options: ResumableOptions = {}): Store {
  const { pieceBytes = PIECE_BYTES, onError } = options;
  const downloads = new Map<string, Download>();
  const downloadOf = (key: string) => {
    const known = downloads.get(key) ?? new Download(key, pieces, pieceBytes, onError);
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
      const first = offset === 0 && !fresh ? await download.piece(0) : undefined;
      if (first !== undefined) return { body: continued(store, key, asked, download, first) };
      const stored = await store.get(key, asked);
      return stored && { ...stored, body: noted(stored.body, offset, download) };
    },
    async keep(key: string, object: VerifiedObject): Promise<void> {
      await store.keep?.(key, object);
      await downloads.get(key)?.forget();
      downloads.delete(key);
    },
  };
}

/** What is kept of one object: bytes 0 to `#end`, in pieces that are named by where they begin. */
class Download {
  readonly #key: string;
  readonly #pieces: CacheLike;
  readonly #pieceBytes: number;
  readonly #onError: ((error: unknown) => void) | undefined;
  #end = 0;
  /** From `#end` on, not written yet. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #work: Promise<void> = Promise.resolve();

  constructor(key: string, pieces: CacheLike, pieceBytes: number, onError?: (error: unknown) => void) {
    this.#key = key;
    this.#pieces = pieces;
    this.#pieceBytes = pieceBytes;
    this.#onError = onError;
  }

  /** The piece that begins there, or undefined. */
  async piece(at: number): Promise<Uint8Array | undefined> {
    await this.#work;
    const body = await this.#pieces.match(this.#name(at)).catch((error) => this.#onError?.(error));
    if (!body) return undefined;
    const bytes = new Uint8Array(await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
    // A page that was left while it wrote leaves an empty one.
    if (bytes.length === 0) return undefined;
    this.#end = Math.max(this.#end, at + bytes.length);
    return bytes;
  }

  /** Bytes that arrived. Those that another request for the same brought already are dropped, and those after a gap. */
  add(position: number, bytes: Uint8Array): void {
    const next = this.#end + this.#heldBytes;
    if (position > next || position + bytes.length <= next) return;
    // Copied: the reader may hand the buffer on.
    const news = bytes.slice(next - position);
    this.#held.push(news);
    this.#heldBytes += news.length;
    if (this.#heldBytes >= this.#pieceBytes) this.flush();
  }

  /** Writes what is held, in the background. */
  flush(): void {
    if (this.#heldBytes === 0) return;
    const [at, bytes] = [this.#end, joined(this.#held, this.#heldBytes)];
    this.#end += bytes.length;
    this.#held = [];
    this.#heldBytes = 0;
    this.#work = this.#work
      .then(() => this.#pieces.put(this.#name(at), bytes))
      .catch((error) => {
        // The next one would begin after a gap.
        this.#end = Math.min(this.#end, at);
        this.#onError?.(error);
      });
  }

  async forget(): Promise<void> {
    await this.#work;
    this.#held = [];
    this.#heldBytes = 0;
    try {
      for (let at = 0; ; ) {
        const bytes = await this.piece(at);
        if (bytes === undefined) break;
        await this.#pieces.delete(this.#name(at));
        at += bytes.length;
      }
    } catch (error) {
      this.#onError?.(error);
    }
    this.#end = 0;
  }

  #name = (at: number) => `${this.#key}/${at}`;
}

/** Pieces first, then the rest from the store. */
function continued(
  store: Store,
  key: string,
  asked: GetOptions,
  download: Download,
  first: Uint8Array,
): ReadableStream<Uint8Array> {
  let piece: Uint8Array | undefined = first;
  let at = 0;
  let rest: ReadableStreamDefaultReader<Uint8Array> | undefined;
  return new ReadableStream(
    {
      async pull(controller) {
        if (rest === undefined) {
          piece ??= await download.piece(at);
          if (piece !== undefined) {
            at += piece.length;
            controller.enqueue(piece);
            piece = undefined;
            return;
          }
          const stored = await store.get(key, { ...asked, range: { offset: at } });
          if (stored === undefined) {
            throw new EdgeDitError('object-missing', `${store.name}: ${key} is gone; publish the model again.`);
          }
          rest = noted(stored.body, at, download).getReader();
        }
        const { done, value } = await rest.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (cause) => rest?.cancel(cause),
    },
    { highWaterMark: 0 },
  );
}

/** The same stream; what passes is kept, and what is held is written when it breaks off. */
function noted(body: ReadableStream<Uint8Array>, offset: number, download: Download): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let at = offset;
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) return controller.close();
          download.add(at, value);
          at += value.length;
          controller.enqueue(value);
        } catch (error) {
          download.flush();
          throw error;
        }
      },
      cancel(cause) {
        download.flush();
        return reader.cancel(cause);
      },
    },
    { highWaterMark: 0 },
  );
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
