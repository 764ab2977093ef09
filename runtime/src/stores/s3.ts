/** A store in a bucket of S3 or of any server that speaks its protocol, by the AWS SDK. For Node: edges read by HTTP or R2. */

import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import { checkKey } from '../format/keys.ts';
import { bytesOfHex } from '../hex.ts';
import type { GetOptions, ListedObject, ObjectInfo, PutOptions, StoredObject, WritableStore } from './store.ts';
import { preconditionFailed, storeDenied, storeFailed, throwIfAborted } from './store-error.ts';

export interface S3StoreOptions {
  readonly bucket: string;
  /** Folder in the bucket; keys are joined to it by a slash. */
  readonly prefix?: string;
  /** For servers that are not AWS. */
  readonly endpoint?: string;
  readonly region?: string;
  /** The bucket in the path and not in the host name; most servers that are not AWS need it. Default: with an endpoint. */
  readonly forcePathStyle?: boolean;
  /** Default: the SDK's chain (environment, profile, instance). */
  readonly credentials?: S3ClientConfig['credentials'];
}

/**
 * The store at `s3://bucket/prefix`. The endpoint comes from S3_ENDPOINT, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, the region
 * from AWS_REGION or AWS_DEFAULT_REGION, the keys from the environment or wherever else the AWS SDK looks.
 * @throws EdgeDitError `invalid-argument` for a malformed place
 */
export function s3StoreAt(place: string, env: Readonly<Record<string, string | undefined>>): S3Store {
  const match = /^s3:\/\/([^/?#]+)(?:\/([^?#]*))?$/i.exec(place);
  if (match === null) {
    throw new EdgeDitError(
      'invalid-argument',
      `"${place}" is not an S3 place; write s3://bucket or s3://bucket/prefix.`,
    );
  }
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = env;
  return new S3Store({
    bucket: match[1],
    prefix: match[2],
    endpoint: env.S3_ENDPOINT ?? env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL,
    region: env.AWS_REGION ?? env.AWS_DEFAULT_REGION,
    // Without keys in the environment the SDK looks in profiles and instance roles.
    credentials:
      accessKeyId !== undefined && secretAccessKey !== undefined
        ? { accessKeyId, secretAccessKey, sessionToken }
        : undefined,
  });
}

type Operation = Parameters<typeof storeFailed>[1];

export class S3Store implements WritableStore {
  readonly name: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #isAws: boolean;

  constructor({ bucket, prefix = '', endpoint, region, forcePathStyle, credentials }: S3StoreOptions) {
    const folder = prefix.replace(/^\/+|\/+$/g, '');
    if (folder !== '') checkKey(folder);
    this.#bucket = bucket;
    this.#isAws = endpoint === undefined;
    this.#prefix = folder === '' ? '' : `${folder}/`;
    this.name = `s3://${bucket}/${folder}`.replace(/\/$/, '');
    this.#client = new S3Client({
      // Only AWS looks at the region; elsewhere it is part of the signature and no more.
      region: region ?? (endpoint === undefined ? undefined : 'us-east-1'),
      endpoint,
      forcePathStyle: forcePathStyle ?? endpoint !== undefined,
      credentials,
      // Other servers do not know the SDK's own checksums; digests are checked by whoever reads.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  async get(key: string, { signal, range }: GetOptions = {}): Promise<StoredObject | undefined> {
    const last = range?.length === undefined ? '' : range.offset + range.length - 1;
    const input = { ...this.#at(key), Range: range && `bytes=${range.offset}-${last}` };
    const output = await this.#guard('get', key, signal, () =>
      this.#client.send(new GetObjectCommand(input), { abortSignal: signal }),
    );
    if (output?.Body === undefined) return undefined;
    return { size: output.ContentLength, etag: output.ETag, body: output.Body.transformToWebStream() };
  }

  async head(key: string, { signal }: { signal?: AbortSignal } = {}): Promise<ObjectInfo | undefined> {
    const output = await this.#guard('head', key, signal, () =>
      this.#client.send(new HeadObjectCommand(this.#at(key)), { abortSignal: signal }),
    );
    return output && { size: output.ContentLength ?? 0, etag: this.#etag('head', key, output.ETag) };
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<{ etag: string }> {
    const { ifMatch } = options;
    if (ifMatch === undefined) return this.#put(key, bytes, options);
    try {
      return await this.#put(key, bytes, options);
    } catch (error) {
      // Ceph compares If-Match with the bare tag, although it sends it in quotes. What was refused was not written.
      const bare = ifMatch.replace(/^"(.*)"$/, '$1');
      if (bare === ifMatch || !isEdgeDitError(error, 'precondition-failed')) throw error;
      return this.#put(key, bytes, { ...options, ifMatch: bare });
    }
  }

  async #put(key: string, bytes: Uint8Array, options: PutOptions): Promise<{ etag: string }> {
    const { signal, contentType, immutable, ifMatch, ifNoneMatch, sha256 } = options;
    const command = new PutObjectCommand({
      ...this.#at(key),
      Body: bytes,
      ContentType: contentType,
      CacheControl: immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
      IfMatch: ifMatch,
      IfNoneMatch: ifNoneMatch,
      // Every server checks the SHA-256 in the request's signature; AWS also keeps this one with the object.
      ChecksumSHA256: sha256 !== undefined && this.#isAws ? base64(sha256) : undefined,
    });
    const send = () => this.#client.send(command, { abortSignal: signal });
    const output = await this.#guard('put', key, signal, send, options);
    return { etag: this.#etag('put', key, output?.ETag) };
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    let token: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        ContinuationToken: token,
      });
      const page = await this.#guard('list', prefix, undefined, () => this.#client.send(command));
      for (const { Key, Size, ETag, LastModified } of page?.Contents ?? []) {
        if (Key === undefined) continue;
        const key = Key.slice(this.#prefix.length);
        yield { key, size: Size ?? 0, etag: this.#etag('list', key, ETag), modified: LastModified ?? new Date(0) };
      }
      token = page?.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(key: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const command = new DeleteObjectCommand(this.#at(key));
    await this.#guard('delete', key, signal, () => this.#client.send(command, { abortSignal: signal }));
  }

  #at(key: string): { Bucket: string; Key: string } {
    checkKey(key);
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  #etag(operation: Operation, key: string, etag: string | undefined): string {
    if (etag === undefined) throw storeFailed(this.name, operation, key, 'the server sent no ETag');
    return etag;
  }

  /** The SDK's answer; undefined where there is no such object; every error in our own form. */
  async #guard<T>(
    operation: Operation,
    key: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
    condition?: PutOptions,
  ): Promise<T | undefined> {
    throwIfAborted(signal, `${this.name}: ${operation} ${key}`);
    try {
      return await work();
    } catch (cause) {
      const { name, $metadata } = cause as { name?: string; $metadata?: { httpStatusCode?: number } };
      const status = $metadata?.httpStatusCode;
      if (name === 'NoSuchBucket') {
        throw new EdgeDitError('store-failed', `${this.name}: bucket "${this.#bucket}" does not exist; create it.`, {
          cause,
        });
      }
      if (status === 401 || status === 403 || name === 'CredentialsProviderError') {
        throw storeDenied(this.name, operation, key, cause);
      }
      if (condition !== undefined) {
        // AWS answers 409 to one of two writers at the same time, and 404 to If-Match on what was deleted.
        if (status === 412 || status === 409 || (status === 404 && condition.ifMatch !== undefined)) {
          throw preconditionFailed(this.name, key, condition);
        }
      } else if (status === 404) return undefined;
      // Where a server sends its code alone, the SDK knows no more than this.
      if (cause instanceof Error && cause.message === 'UnknownError') cause.message = cause.name;
      throw storeFailed(this.name, operation, key, cause, signal);
    }
  }
}

const base64 = (hex: string) => btoa(String.fromCharCode(...bytesOfHex(hex)));
