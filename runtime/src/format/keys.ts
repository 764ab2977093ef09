/** Where the objects of a model lie in a store, and which keys any store accepts. */
import { EdgeDitError } from '../errors.ts';

/** Lower-case hex of SHA-256. */
export const SHA256_HEX = /^[0-9a-f]{64}$/;
/** Names of models: part of keys and of URLs on any system. */
export const MODEL_NAME = /^[a-z0-9][a-z0-9._-]{0,99}$/;

const KEY = /^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/;
const MAX_KEY_LENGTH = 512;

const CONTENT_PREFIX = 'shards/';

/** Shards, and parts of auxiliary files: everything that is named by its content and may be cached for ever. */
export const shardKey = (sha256: string) => `${CONTENT_PREFIX}${sha256}`;
export const manifestKey = (sha256: string) => `manifests/${sha256}.json`;
/** There while unused objects are being deleted. */
export const PRUNE_KEY = 'prune.json';
export const pointerKey = (model: string) => `models/${model}.json`;

/** The digest that a content-addressed key names, or undefined for every other key. */
export function digestOfKey(key: string): string | undefined {
  const digest = key.startsWith(CONTENT_PREFIX) ? key.slice(CONTENT_PREFIX.length) : '';
  return SHA256_HEX.test(digest) ? digest : undefined;
}

/** Raises `invalid-argument` for a key that could leave its folder or mean different things to different stores. */
export function checkKey(key: string): void {
  if (key.length > MAX_KEY_LENGTH || !KEY.test(key)) {
    throw new EdgeDitError(
      'invalid-argument',
      `object key ${JSON.stringify(key.slice(0, 100))} is not acceptable; keys are names of letters, digits, ".", "_" and "-" joined by "/", each starting with a letter or digit, ${MAX_KEY_LENGTH} characters at most.`,
    );
  }
}
