/** How much one key may ask for: requests a minute, by a bucket of tokens or by the platform's own limiter, and at once. */
import { Problem } from '../problem.ts';
import type { ApiKey } from './api-keys.ts';

/** The binding of Cloudflare: counts across isolates of a place. */
export interface RateLimiter {
  limit(options: { readonly key: string }): Promise<{ readonly success: boolean }>;
}

interface Use {
  tokens: number;
  /** Milliseconds since 1970, when they were counted. */
  at: number;
  underWay: number;
}

const MINUTE_MS = 60_000;

export class RateLimits {
  readonly #limiter: RateLimiter | undefined;
  readonly #now: () => number;
  /** At most as many as there are keys. */
  readonly #uses = new Map<string, Use>();

  constructor(limiter?: RateLimiter, now: () => number = Date.now) {
    this.#limiter = limiter;
    this.#now = now;
  }

  /** Lets one request of the key in; the result says that it has ended. @throws Problem `too-many-requests` */
  async admit({ name, requestsPerMinute, concurrency }: ApiKey): Promise<() => void> {
    const use = this.#use(name, requestsPerMinute ?? 0);
    if (concurrency !== undefined && use.underWay >= concurrency) {
      throw tooMany(`${concurrency} requests of "${name}" are under way, which is its limit`, 1);
    }
    if (requestsPerMinute !== undefined) {
      if (use.tokens < 1) {
        const seconds = Math.ceil(((1 - use.tokens) * MINUTE_MS) / requestsPerMinute / 1000);
        throw tooMany(`"${name}" has made its ${requestsPerMinute} requests a minute`, seconds);
      }
      use.tokens--;
    }
    use.underWay++;
    let ended = false;
    const end = () => {
      if (!ended) use.underWay--;
      ended = true;
    };
    try {
      if (this.#limiter && !(await this.#limiter.limit({ key: name })).success) {
        throw tooMany(`"${name}" asks too often`, 10);
      }
      return end;
    } catch (error) {
      end();
      throw error;
    }
  }

  /** The bucket as it is now: it fills evenly, to a minute's worth. */
  #use(name: string, perMinute: number): Use {
    const now = this.#now();
    const use = this.#uses.get(name) ?? { tokens: perMinute, at: now, underWay: 0 };
    use.tokens = Math.min(perMinute, use.tokens + (Math.max(0, now - use.at) * perMinute) / MINUTE_MS);
    use.at = now;
    this.#uses.set(name, use);
    return use;
  }
}

const tooMany = (reason: string, seconds: number) =>
  new Problem('too-many-requests', `${reason}; come back in ${seconds} s.`, {
    headers: { 'retry-after': String(seconds) },
  });
