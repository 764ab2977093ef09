/**
 * A store that an attacker writes: manifests signed by a trusted key are changed in every way, and pointers too, with digests
 * that fit. Each is refused with a typed error, or is, signature and all, a manifest that was signed.
 */
import { EdgeDitError } from '../errors.ts';
import { canonicalJson } from '../format/json.ts';
import { manifestKey, pointerKey } from '../format/keys.ts';
import type { Manifest } from '../format/manifest.ts';
import { hexOf } from '../hex.ts';
import { loadManifest } from '../load-manifest.ts';
import { MemoryStore } from '../stores/memory.ts';
import { signedBytes, type TrustPolicy } from '../trust.ts';
import { sha256Hex } from '../verify.ts';
import { type Below, mutateBytes, mutateTree, random } from './mutate.ts';

export interface FuzzedTrust {
  readonly cases: number;
  /** Changes that are none, such as of whitespace. */
  readonly accepted: number;
  /** By code of the error. */
  readonly refused: Readonly<Record<string, number>>;
}

type Signature = NonNullable<Manifest['signature']>;
interface Key {
  readonly pair: CryptoKeyPair;
  readonly publicKey: string;
}

const HEX = '0123456789abcdef';

/** Raises what is not an `EdgeDitError`, and an `Error` for what was accepted and never signed. */
export async function fuzzTrust(unsigned: Manifest, cases: number, seed: number): Promise<FuzzedTrust> {
  const below = random(seed);
  const [trusted, foreign] = [await newKey(), await newKey()];
  const policy: TrustPolicy = { keys: [trusted.publicKey], minimumSequence: { [unsigned.model]: 5 } };
  const times = { issued: '2026-01-01T00:00:00Z', expires: '2999-01-01T00:00:00Z' };
  const good = await sign(unsigned, trusted, { ...times, sequence: 5 });
  const other = await sign({ ...unsigned, license: 'other' }, trusted, { ...times, sequence: 6 });
  const known = new Set([good, other].map((manifest) => canonicalJson(manifest)));
  const stale = [
    await sign(unsigned, trusted, { ...times, sequence: 4 }),
    await sign(unsigned, trusted, { ...times, expires: '2020-01-01T00:00:00Z', sequence: 9 }),
    await sign(unsigned, foreign, { ...times, sequence: 9 }),
  ];
  const text = canonicalJson(good);
  const utf8 = (value: string) => new TextEncoder().encode(value);
  const forge = (): Uint8Array => {
    const signature = { ...good.signature! };
    const kind = below(10);
    if (kind < 3) return mutateBytes(utf8(text), below);
    if (kind < 6) return mutateTree(text, below);
    if (kind === 6) return utf8(canonicalJson(stale[below(stale.length)]));
    if (kind === 7) return utf8(canonicalJson({ ...unsigned, signature: other.signature }));
    if (kind === 8) return utf8(canonicalJson({ ...good, signature: forgedSignature(signature, foreign, below) }));
    return utf8(canonicalJson(unsigned));
  };
  let accepted = 0;
  const refused: Record<string, number> = {};
  for (let round = 0; round < cases; round++) {
    const store = new MemoryStore();
    const bytes = forge();
    const digest = await sha256Hex(bytes);
    const pointer = utf8(JSON.stringify({ manifest: digest, length: bytes.length }));
    await store.put(manifestKey(digest), bytes);
    await store.put(pointerKey(unsigned.model), below(20) === 0 ? mutateBytes(pointer, below) : pointer);
    try {
      const { manifest } = await loadManifest(store, unsigned.model, { trust: policy });
      if (!known.has(canonicalJson(manifest))) {
        throw new Error(`seed ${seed}, case ${round}: accepted ${new TextDecoder().decode(bytes)}`);
      }
      accepted++;
    } catch (error) {
      if (!(error instanceof EdgeDitError)) throw error;
      refused[error.code] = (refused[error.code] ?? 0) + 1;
    }
  }
  return { cases, accepted, refused };
}

async function newKey(): Promise<Key> {
  const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
  return { pair, publicKey: hex(await crypto.subtle.exportKey('raw', pair.publicKey)) };
}

async function sign(
  manifest: Manifest,
  { pair, publicKey }: Key,
  about: Pick<Signature, 'issued' | 'expires' | 'sequence'>,
): Promise<Manifest> {
  const signature: Signature = { algorithm: 'Ed25519', key: publicKey, ...about, value: '' };
  const value = await crypto.subtle.sign('Ed25519', pair.privateKey, signedBytes({ ...manifest, signature }));
  return { ...manifest, signature: { ...signature, value: hex(value) } };
}

/** One field of it is another. */
function forgedSignature(signature: Signature, { publicKey }: Key, below: Below): Record<string, unknown> {
  const flip = (text: string) => {
    const at = below(text.length);
    return text.slice(0, at) + HEX[(HEX.indexOf(text[at]) + 1 + below(15)) % 16] + text.slice(at + 1);
  };
  const changes: (() => Record<string, unknown>)[] = [
    () => ({ value: flip(signature.value) }),
    () => ({ key: flip(signature.key) }),
    () => ({ key: publicKey }),
    () => ({ sequence: signature.sequence + 1 + below(1000) }),
    () => ({ expires: undefined }),
    () => ({ expires: `3${signature.expires!.slice(1)}` }),
    () => ({ issued: '2027-01-01T00:00:00Z' }),
    () => ({ algorithm: ['none', 'ed25519', 'HS256', null][below(4)] }),
    () => ({ value: ['', '0'.repeat(128), 'f'.repeat(128), signature.value.toUpperCase()][below(4)] }),
  ];
  return { ...signature, ...changes[below(changes.length)]() };
}

function hex(bytes: ArrayBuffer): string {
  return hexOf(new Uint8Array(bytes));
}
