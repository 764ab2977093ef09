/** A place as users write it (a folder, `s3://bucket/prefix`, an address) in, a store out. */
import { fileURLToPath } from 'node:url';
import { EdgeDitError, unknownName } from '@edge-dit/runtime/errors';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { s3StoreAt } from '@edge-dit/runtime/stores/s3';
import type { Store, WritableStore } from '@edge-dit/runtime/stores/store';

type Environment = Readonly<Record<string, string | undefined>>;
interface StoreKind {
  readonly scheme: string;
  /** How users write it. */
  readonly form: string;
  readonly summary: string;
  open(place: string, env: Environment): Store;
}

const kinds: readonly StoreKind[] = [
  {
    scheme: 'file',
    form: 'folder, file:folder',
    summary: 'a folder of this machine',
    open: (place) => new FsStore(place.startsWith('file://') ? fileURLToPath(place) : place.slice('file:'.length)),
  },
  {
    scheme: 's3',
    form: 's3://bucket/prefix',
    summary: 'S3, or any server that speaks it (S3_ENDPOINT)',
    open: s3StoreAt,
  },
  { scheme: 'http', form: 'http://host/path', summary: 'read-only', open: (place) => new HttpStore(place) },
  { scheme: 'https', form: 'https://host/path', summary: 'read-only', open: (place) => new HttpStore(place) },
  {
    scheme: 'memory',
    form: 'memory:',
    summary: 'a new, empty store that ends with the process',
    open: () => new MemoryStore(),
  },
];

/** The kinds of stores, as users write them. */
export const storeKinds = kinds.map(({ scheme, form, summary }) => ({ scheme, form, summary }));

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
  const kind = kinds.find((candidate) => candidate.scheme === scheme);
  if (kind === undefined) {
    throw unknownName(
      'kind of store',
      scheme,
      kinds.map((candidate) => candidate.scheme),
    );
  }
  return kind.open(place, env);
}

/**
 * As `openStore`, for writing. S3 takes the keys in S3_PUBLISH_ACCESS_KEY_ID, S3_PUBLISH_SECRET_ACCESS_KEY and
 * S3_PUBLISH_SESSION_TOKEN where they are set, so that whoever only reads can do with others that permit no more.
 * @throws EdgeDitError `invalid-argument` for a store that can only be read, and for one of these keys without the other
 */
export function openWritableStore(place: string, env: Environment = process.env): WritableStore {
  const store = openStore(place, publisherEnvironment(env));
  if (!('put' in store)) {
    throw new EdgeDitError('invalid-argument', `${store.name} can only be read; publish to a folder or to s3://.`);
  }
  return store as WritableStore;
}

function publisherEnvironment(env: Environment): Environment {
  const {
    S3_PUBLISH_ACCESS_KEY_ID: accessKeyId,
    S3_PUBLISH_SECRET_ACCESS_KEY: secretAccessKey,
    S3_PUBLISH_SESSION_TOKEN: sessionToken,
  } = env;
  if (accessKeyId === undefined && secretAccessKey === undefined) return env;
  if (!accessKeyId || !secretAccessKey) {
    throw new EdgeDitError(
      'invalid-argument',
      'S3_PUBLISH_ACCESS_KEY_ID and S3_PUBLISH_SECRET_ACCESS_KEY go together; set both or none.',
    );
  }
  const keys = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
  return { ...env, ...keys, AWS_SESSION_TOKEN: sessionToken };
}
