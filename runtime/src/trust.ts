/**
 * A parsed manifest and what the operator trusts in; out comes nothing, or a refusal. What is verified is the value that
 * is used afterwards, in canonical form, so no second reading of the bytes can differ from the first.
 */
import * as z from 'zod/mini';
import { EdgeDitError } from './errors.ts';
import { canonicalJson } from './format/json.ts';
import { SHA256_HEX } from './format/keys.ts';
import type { Manifest } from './format/manifest.ts';
import { bytesOfHex } from './hex.ts';
import { zodMessages } from './zod-messages.ts';

const trustPolicy = z.strictObject({
  /** Public keys, 64 lower-case hex digits each. */
  keys: z.array(z.string().check(z.regex(SHA256_HEX, 'must be 64 lower-case hex digits'))),
  /** Whether manifests without a signature are refused. Default true. */
  required: z.optional(z.boolean()),
  /** By name of the model, the least `sequence` that is accepted: what is older was replaced for a reason. */
  minimumSequence: z.optional(z.catchall(z.object({}), z.int())),
});

export type TrustPolicy = Readonly<z.infer<typeof trustPolicy>>;

/** A policy from JSON of the configuration. @throws EdgeDitError `invalid-argument`: never a weaker policy */
export function parseTrustPolicy(json: string): TrustPolicy {
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch {}
  const result = trustPolicy.safeParse(given, zodMessages);
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  throw new EdgeDitError(
    'invalid-argument',
    `trust policy: ${path.join('.')}: ${message}; write for example {"keys": ["<public key>"]}.`,
  );
}

/** What is signed: the bytes of the manifest in canonical form, with all of `signature` but its `value`. */
export function signedBytes(manifest: Manifest): Uint8Array<ArrayBuffer> {
  const signature = { ...manifest.signature, value: undefined };
  return new TextEncoder().encode(`${canonicalJson({ ...manifest, signature })}\n`);
}

/** Whether the signature of a manifest was made over it, with the key that it names. Ed25519 (RFC 8032), by Web Crypto. */
export async function isSignatureValid(manifest: Manifest): Promise<boolean> {
  const { key, value } = manifest.signature!;
  const publicKey = await crypto.subtle.importKey('raw', bytesOfHex(key), 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', publicKey, bytesOfHex(value), signedBytes(manifest));
}

/** @throws EdgeDitError `manifest-untrusted`; `what` names the manifest in messages */
export async function checkTrust(manifest: Manifest, policy: TrustPolicy, what: string): Promise<void> {
  const { signature, model } = manifest;
  const refuse = (message: string) => new EdgeDitError('manifest-untrusted', `${what}: ${message}.`);
  if (signature === undefined) {
    if (policy.required === false) return;
    throw refuse('not signed; sign it with a trusted key ("edge-dit sign")');
  }
  const { key, expires, sequence } = signature;
  if (!policy.keys.includes(key)) {
    throw refuse(`signed by ${key}, which is not a trusted key; sign it with one, or trust this one if it is yours`);
  }
  if (!(await isSignatureValid(manifest))) {
    throw refuse('changed after it was signed; publish it again from its source');
  }
  // The other way round, a date that does not exist would never expire.
  if (expires !== undefined && !(Date.parse(expires) > Date.now())) {
    throw refuse(`its signature expired at ${expires}; sign it again ("edge-dit sign")`);
  }
  const least = policy.minimumSequence?.[model] ?? 0;
  if (sequence < least) {
    throw refuse(`an old version, sequence ${sequence} where ${least} is the least; publish or sign the newest again`);
  }
}
