/** A place as users write it (a folder, `s3://bucket/prefix`, an address) in, a store out. */
import { fileURLToPath } from 'node:url';
import { EdgeDitError, unknownName } from '@edge-dit/runtime/errors';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { S3Store } from '@edge-dit/runtime/stores/s3';
import type { Store, WritableStore } from '@edge-dit/runtime/stores/store';

type Environment = Readonly<Record<string, string | undefined>>;
type Opener = (place: string, env: Environment) => Store;

const openers: Readonly<Record<string, Opener>> = {
  file: (place) => new FsStore(place.startsWith('file://') ? fileURLToPath(place) : place.slice('file:'.length)),
  s3: openS3,
  http: (place) => new HttpStore(place),
  https: (place) => new HttpStore(place),
  memory: () => new MemoryStore(),
};

/**
 * Opens a store: a path or `file:` URL, `s3://bucket/prefix`, `http://` or `https://` (read-only), `memory:` (a new, empty one).
 * S3 takes its endpoint from S3_ENDPOINT, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, its region from AWS_REGION or
 * AWS_DEFAULT_REGION, and its credentials from the environment or wherever else the AWS SDK looks.
 * @throws EdgeDitError `unknown-name` for another scheme, `invalid-argument` for a malformed place
 */
export function openStore(place: string, env: Environment = process.env): Store {
  // A scheme of one letter is a drive of Windows.
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]+):/.exec(place)?.[1].toLowerCase();
  if (place === '') throw new EdgeDitError('invalid-argument', 'the store is an empty text; give a folder or a URL.');
  if (scheme === undefined) return new FsStore(place);
  if (!Object.hasOwn(openers, scheme)) throw unknownName('kind of store', scheme, Object.keys(openers));
  return openers[scheme](place, env);
}

/**
 * As `openStore`, for writing.
 * @throws EdgeDitError `invalid-argument` for a store that can only be read
 */
export function openWritableStore(place: string, env: Environment = process.env): WritableStore {
  const store = openStore(place, env);
  if (!('put' in store)) {
    throw new EdgeDitError('invalid-argument', `${store.name} can only be read; publish to a folder or to s3://.`);
  }
  return store as WritableStore;
}

function openS3(place: string, env: Environment): Store {
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
