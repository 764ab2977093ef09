/** A body of JSON, of a limited size and of the right type, or a problem. */
import { bodyLimit } from 'hono/body-limit';
import type { AppContext } from '../app-env.ts';
import type { Limits } from '../limits.ts';
import { Problem } from '../problem.ts';

/** Whose body it is may be asked by the limit to be another request: take the signal before. */
export function bodyReader({ bodyBytes }: Limits): (c: AppContext) => Promise<unknown> {
  const limitBody = bodyLimit({
    maxSize: bodyBytes,
    onError: () => {
      throw new Problem('content-too-large', `a body has at most ${bodyBytes} bytes.`);
    },
  });
  return async (c) => {
    // Also keeps out forms of other sites: a browser asks before it sends JSON across origins.
    const type = c.req.header('content-type')?.split(';')[0].trim().toLowerCase();
    if (type !== 'application/json') {
      throw new Problem('unsupported-media-type', 'send the request as content-type: application/json.');
    }
    const { signal } = c.req.raw;
    let body: unknown;
    await limitBody(c, async () => {
      try {
        body = await c.req.json();
      } catch (cause) {
        if (signal.aborted) throw cause;
        throw new Problem('malformed-request', 'the body is not JSON; send an object such as {"prompt": "red apple"}.');
      }
    });
    return body;
  };
}
