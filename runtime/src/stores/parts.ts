/** Where what came of an object is kept until it is whole: for `resumable`. */
import type { CacheLike } from './cached.ts';

/** What is kept of one object, from its first byte on. */
export interface Part {
  /** Some of the bytes from there on, or undefined where none are kept. */
  read(at: number): Promise<Uint8Array | undefined>;
  /** Bytes that follow those that are kept. May be written later. @throws what the place raises, when it is full */
  write(at: number, bytes: Uint8Array): void;
  /** When all of it is written. */
  close(): Promise<void>;
}

export interface Parts {
  /** To be closed before it is opened again. */
  open(key: string): Promise<Part>;
  delete(key: string): Promise<void>;
  clear(): Promise<void>;
}

export interface PiecesOptions {
  /** Bytes of a piece. Default 128 KiB. */
  readonly bytes?: number;
  /** Is told what could not be written. */
  readonly onError?: (error: unknown) => void;
}

const PIECE_BYTES = 2 ** 17;

/** Parts in a place that writes whole entries only: as pieces, named by where they begin. What is clipped of a process that dies is one piece and those on their way. */
export function piecesIn(cache: CacheLike, { bytes: pieceBytes = PIECE_BYTES, onError }: PiecesOptions = {}): Parts {
  const nameOf = (key: string, at: number) => `${key}/${at}`;
  const read = async (key: string, at: number): Promise<Uint8Array | undefined> => {
    const body = await cache.match(nameOf(key, at));
    if (body === undefined) return undefined;
    const bytes = new Uint8Array(await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
    // A page that was left while it wrote leaves an empty one.
    return bytes.length === 0 ? undefined : bytes;
  };
  const open = async (key: string): Promise<Part> => {
    let held: Uint8Array[] = [];
    let heldBytes = 0;
    let start = 0;
    let work: Promise<void> = Promise.resolve();
    let full = false;
    const flush = () => {
      if (heldBytes === 0 || full) return;
      const [name, piece] = [nameOf(key, start), joined(held, heldBytes)];
      held = [];
      heldBytes = 0;
      // After one that is missing, others are of no use.
      work = work
        .then(() => (full ? undefined : cache.put(name, piece)))
        .catch((error) => {
          full = true;
          onError?.(error);
        });
    };
    return {
      read: (at) => read(key, at),
      write(at, bytes) {
        if (full) return;
        if (heldBytes === 0) start = at;
        // Copied: the reader may hand the buffer on.
        held.push(bytes.slice());
        heldBytes += bytes.length;
        if (heldBytes >= pieceBytes) flush();
      },
      async close() {
        flush();
        await work;
      },
    };
  };
  const remove = async (key: string) => {
    for (let at = 0; ; ) {
      const piece = await read(key, at);
      if (piece === undefined) return;
      await cache.delete(nameOf(key, at));
      at += piece.length;
    }
  };
  return { open, delete: remove, clear: async () => {} };
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
