/** Server-sent events of a known set of names, as a stream whose end the client may bring about at any time. */
import type { Events } from '../api/answers.ts';
import type { AppContext } from '../app-env.ts';

export interface EventSink {
  send<Name extends keyof Events>(name: Name, data: Events[Name]): void;
}

/** While nothing happens, a comment tells proxies that the connection is in use. */
const HEARTBEAT_MS = 10_000;

/**
 * An answer of events.
 * @param produce sends events; the stream ends when it does. Rejects only by mistake.
 * @param leave is called when the client reads no more
 */
export function answerEvents(
  c: AppContext,
  produce: (sink: EventSink) => Promise<void>,
  leave: () => void,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const encoder = new TextEncoder();
  let open = true;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string) => {
        if (!open) return;
        try {
          controller.enqueue(encoder.encode(text));
        } catch {
          // Closed from the other side, before `cancel` was called.
          open = false;
          leave();
        }
      };
      const send: EventSink['send'] = (name, data) => write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
      const heartbeat = setInterval(() => write(': still here\n\n'), HEARTBEAT_MS);
      // Proxies hold the head of an answer back until its body begins.
      write(': edge-dit\n\n');
      const produced = produce({ send }).finally(() => {
        clearInterval(heartbeat);
        if (open) controller.close();
        open = false;
      });
      outliveClient(c, produced);
    },
    cancel() {
      open = false;
      leave();
    },
  });
  return new Response(stream, { headers: { ...headers, ...EVENT_HEADERS } });
}

/** Workers drop what a request does when its client leaves, and with it the turn that it has; this lets it end in order. */
function outliveClient(c: AppContext, work: Promise<void>): void {
  let context: { waitUntil(promise: Promise<unknown>): void };
  try {
    context = c.executionCtx;
  } catch {
    // Elsewhere nothing is dropped.
    return;
  }
  context.waitUntil(work);
}

export const EVENT_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  // Of nginx: do not collect the stream.
  'x-accel-buffering': 'no',
};
