/** The options by which commands sign manifests, and by which they refuse those of others. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { SHA256_HEX } from '@edge-dit/runtime/format/keys';
import type { TrustPolicy } from '@edge-dit/runtime/trust';
import { type Command, InvalidArgumentError } from 'commander';
import type { Signing } from '../trust/sign-manifest.ts';
import { openSigningKey } from '../trust/signing-key.ts';
import { readUserFile } from './files.ts';
import { integer, timeSpan } from './option-values.ts';

export interface SigningFlags {
  readonly sign?: string;
  readonly expiresIn?: number;
}

export function addSigningOptions(command: Command): Command {
  return command
    .option('--sign <key>', 'sign the manifest with this private key (see "edge-dit keygen")')
    .option('--expires-in <time>', 'refuse the signature after this time, for example 90d (default: never)', timeSpan);
}

/** @throws EdgeDitError `invalid-argument` for a file that holds no private key, and for a time without a key */
export async function signingOf({ sign, expiresIn }: SigningFlags): Promise<Signing | undefined> {
  if (sign === undefined) {
    if (expiresIn === undefined) return undefined;
    throw new EdgeDitError('invalid-argument', '--expires-in is of a signature: give a key with --sign.');
  }
  const pem = new TextDecoder().decode(await readUserFile('--sign', sign));
  return { key: await openSigningKey(pem, `--sign: ${sign}`), validForMs: expiresIn };
}

export interface TrustFlags {
  readonly trust?: readonly string[];
  readonly minimumSequence?: number;
}

export function addTrustOptions(command: Command): Command {
  return command
    .option('--trust <key>', 'accept only manifests signed with this public key; may be repeated', collectKey)
    .option('--minimum-sequence <n>', 'with --trust: accept no older version', integer(1, Number.MAX_SAFE_INTEGER));
}

/** @throws EdgeDitError `invalid-argument` for a sequence without a key */
export function trustOf({ trust, minimumSequence }: TrustFlags, model: string): TrustPolicy | undefined {
  if (trust === undefined) {
    if (minimumSequence === undefined) return undefined;
    throw new EdgeDitError('invalid-argument', '--minimum-sequence is of signed manifests: give a key with --trust.');
  }
  return {
    keys: [...trust],
    ...(minimumSequence === undefined ? {} : { minimumSequence: { [model]: minimumSequence } }),
  };
}

function collectKey(text: string, others: readonly string[] = []): string[] {
  if (!SHA256_HEX.test(text)) {
    throw new InvalidArgumentError(
      'Expected a public key: 64 lower-case hex digits, as "edge-dit keygen" prints them.',
    );
  }
  return [...others, text];
}
