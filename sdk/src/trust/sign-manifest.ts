/**
 * A manifest and a key in, the signed manifest out. The sequence is the second in which it was signed, or one more than
 * that of the version before: it grows with every version, also when an old one is published anew.
 */
import { canonicalJson } from '@edge-dit/runtime/format/json';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { isSignatureValid, signedBytes } from '@edge-dit/runtime/trust';
import type { SigningKey } from './signing-key.ts';

export interface Signing {
  readonly key: SigningKey;
  /** Milliseconds after which the signature is refused. Without it, never. */
  readonly validForMs?: number;
  /** Signs also what bears a good signature already. */
  readonly renew?: boolean;
}

type Signature = NonNullable<Manifest['signature']>;

/** ISO 8601 to the second, as manifests and pointers have it. */
export const isoSeconds = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/**
 * Signs a manifest that follows `previous`, the version in its place now. The same model with at least half of the asked
 * time left keeps its signature, so that publishing it again changes nothing.
 */
export async function signManifest(
  manifest: Manifest,
  { key, validForMs, renew = false }: Signing,
  previous?: Manifest,
  now = Date.now(),
): Promise<Manifest> {
  const before = previous && (await ownSignature(previous, key));
  if (before && !renew && sameModel(manifest, previous!) && lasts(before, validForMs, now)) return previous!;
  // A signature of somebody else says nothing of the sequence: it could be the largest number there is.
  const sequence = Math.max(Math.floor(now / 1000), (before?.sequence ?? 0) + 1);
  const expires = validForMs === undefined ? {} : { expires: isoSeconds(now + validForMs) };
  const signature: Signature = {
    algorithm: 'Ed25519',
    key: key.publicKey,
    issued: isoSeconds(now),
    ...expires,
    sequence,
    value: '',
  };
  const value = Buffer.from(await key.sign(signedBytes({ ...manifest, signature }))).toString('hex');
  return { ...manifest, signature: { ...signature, value } };
}

async function ownSignature(manifest: Manifest, { publicKey }: SigningKey): Promise<Signature | undefined> {
  const { signature } = manifest;
  return signature?.key === publicKey && (await isSignatureValid(manifest)) ? signature : undefined;
}

function sameModel(a: Manifest, b: Manifest): boolean {
  return canonicalJson({ ...a, signature: undefined }) === canonicalJson({ ...b, signature: undefined });
}

function lasts({ expires }: Signature, validForMs: number | undefined, now: number): boolean {
  if (validForMs === undefined || expires === undefined) return validForMs === expires;
  return Date.parse(expires) - now >= validForMs / 2;
}
