/**
 * Ed25519 keys of publishers: made, written as PKCS8 in PEM (which OpenSSL reads and writes too), and read back. A public
 * key is 32 bytes and is written as 64 hex digits: short enough to be its own name.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';

export interface SigningKey {
  /** 64 lower-case hex digits. */
  readonly publicKey: string;
  sign(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
}

const LABEL = 'PRIVATE KEY';

/** A new private key, as PEM. */
export async function generateKeyPem(): Promise<string> {
  const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
  const bytes = Buffer.from(await crypto.subtle.exportKey('pkcs8', pair.privateKey));
  return `-----BEGIN ${LABEL}-----\n${bytes.toString('base64')}\n-----END ${LABEL}-----\n`;
}

/**
 * The key in a PEM text; `what` names it in messages, which never show the text.
 * @throws EdgeDitError `invalid-argument`
 */
export async function openSigningKey(pem: string, what: string): Promise<SigningKey> {
  const body = new RegExp(`-----BEGIN ${LABEL}-----([A-Za-z0-9+/=\\s]+)-----END ${LABEL}-----`).exec(pem)?.[1];
  try {
    const bytes = Buffer.from(body ?? '', 'base64');
    const key = await crypto.subtle.importKey('pkcs8', bytes, 'Ed25519', true, ['sign']);
    const { x } = await crypto.subtle.exportKey('jwk', key);
    return {
      publicKey: Buffer.from(x!, 'base64url').toString('hex'),
      sign: async (message) => new Uint8Array(await crypto.subtle.sign('Ed25519', key, message)),
    };
  } catch {
    // Without the cause: what a parser says of a private key is not for logs.
    throw new EdgeDitError(
      'invalid-argument',
      `${what} is not an unencrypted Ed25519 private key in PEM; make one with "edge-dit keygen".`,
    );
  }
}
