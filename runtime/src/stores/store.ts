/**
 * What edge-dit asks of a place that keeps objects. Keys are ASCII paths such as `shards/<sha256>`.
 * A store neither verifies nor caches: wrappers and `verify.ts` do. A key that is not one (`checkKey`) is
 * `invalid-argument`; what a store cannot do is `store-failed` or `store-denied`; an abort is `aborted`.
 */
import type { VerifiedObject } from '../verify.ts';

export interface ObjectInfo {
  readonly size: number;
  /** Opaque version of the object, for `ifMatch`. */
  readonly etag: string;
}

export interface StoredObject {
  /** Bytes in `body`, where the store says so. Not to be trusted before the body was counted. */
  readonly size?: number;
  readonly etag?: string;
  /** It came out of a cache, which so need not be offered it again. */
  readonly cached?: boolean;
  readonly body: ReadableStream<Uint8Array>;
}

export interface GetOptions {
  readonly signal?: AbortSignal;
  /** Bytes `offset` to `offset + length - 1`; to the end without a length. */
  readonly range?: { readonly offset: number; readonly length?: number };
  /** Past every cache: what was got before is wrong. A cache drops its entry. */
  readonly fresh?: boolean;
}

export interface PutOptions {
  readonly signal?: AbortSignal;
  /** Only when no object has the key; otherwise `precondition-failed`. */
  readonly ifNoneMatch?: '*';
  /** Only when the object still has this etag; otherwise `precondition-failed`. */
  readonly ifMatch?: string;
  readonly contentType?: string;
  /** The key names its content, so the object may be cached for ever. */
  readonly immutable?: boolean;
  /** Of the bytes, in hex: stores that can do so refuse bytes that arrive with another. */
  readonly sha256?: string;
}

export interface Store {
  /** For messages; never holds credentials. */
  readonly name: string;
  /** The object, or undefined where there is none. */
  get(key: string, options?: GetOptions): Promise<StoredObject | undefined>;
  /** Caches only: is offered each object that was read whole and verified, and may keep it. Never fails. */
  keep?(key: string, object: VerifiedObject): Promise<void>;
}

export interface ListedObject extends ObjectInfo {
  readonly key: string;
  readonly modified: Date;
}

export interface WritableStore extends Store {
  head(key: string, options?: { signal?: AbortSignal }): Promise<ObjectInfo | undefined>;
  /** Replaces the object as a whole: a reader sees the old bytes or the new ones. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<{ etag: string }>;
  list(prefix: string): AsyncIterable<ListedObject>;
  /** Deleting what is not there is no error. */
  delete(key: string, options?: { signal?: AbortSignal }): Promise<void>;
  /** Removes what writes that were broken off before `time` left beside the objects; tells how much that was. */
  sweep?(time: Date): Promise<number>;
}
