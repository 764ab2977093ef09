/**
 * Addresses that expire: a query with the time and an HMAC over it and the path. In: a secret of the gateway. Out: signed
 * addresses, and whether a request has one. A signature of everything (`scope=all`) suits a client that loads a whole
 * model, which knows the paths only when it has read the manifest.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { bytesOfHex, hexOf } from '@edge-dit/runtime/hex';

/** Bytes of a secret that nobody guesses. */
const MIN_SECRET_BYTES = 32;

export interface SignOptions {
  /** Seconds since 1970. */
  readonly expires: number;
  /** Of everything that the gateway serves, and not of this path alone. */
  readonly all?: boolean;
}

export class UrlSigner {
  readonly #key: Promise<CryptoKey>;

  /** @throws EdgeDitError `invalid-argument` for a secret of less than 32 bytes */
  constructor(secret: string) {
    const bytes = new TextEncoder().encode(secret);
    if (bytes.length < MIN_SECRET_BYTES) {
      throw new EdgeDitError(
        'invalid-argument',
        `the secret of signed addresses needs ${MIN_SECRET_BYTES} bytes at least.`,
      );
    }
    this.#key = crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']);
  }

  /** The address with `expires`, `scope` and `signature` in its query. */
  async sign(address: string, { expires, all = false }: SignOptions): Promise<string> {
    const url = new URL(address);
    const message = messageOf(all ? undefined : url.pathname, String(expires));
    const signature = new Uint8Array(await crypto.subtle.sign('HMAC', await this.#key, message));
    url.searchParams.set('expires', String(expires));
    if (all) url.searchParams.set('scope', 'all');
    url.searchParams.set('signature', hexOf(signature));
    return url.href;
  }

  /** Whether the address was signed with this secret, for its path, and has not expired at `now` (milliseconds since 1970). */
  async accepts({ pathname, searchParams }: URL, now: number): Promise<boolean> {
    const [expires, signature] = [searchParams.get('expires') ?? '', searchParams.get('signature') ?? ''];
    if (!/^\d{1,12}$/.test(expires) || !/^[0-9a-f]{64}$/.test(signature)) return false;
    const message = messageOf(searchParams.get('scope') === 'all' ? undefined : pathname, expires);
    const given = bytesOfHex(signature);
    // The host compares in constant time.
    const genuine = await crypto.subtle.verify('HMAC', await this.#key, given, message);
    return genuine && 1000 * Number(expires) > now;
  }
}

/** A path starts with a slash, so none reads like the scope of everything. */
const messageOf = (path: string | undefined, expires: string) =>
  new TextEncoder().encode(`edge-dit gateway 1\n${path ?? 'all'}\n${expires}`);
