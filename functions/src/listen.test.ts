import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { listen } from './listen.ts';

/** Answers in two parts, so many milliseconds apart. */
const serveSlowly = (ms: number) =>
  listen(() => {
    const encoder = new TextEncoder();
    return new Response(
      new ReadableStream({
        async start(controller) {
          controller.enqueue(encoder.encode('first, '));
          await sleep(ms, undefined, { ref: false });
          controller.enqueue(encoder.encode('last'));
          controller.close();
        },
      }),
    );
  });

test('what is under way may end, nothing new begins', async () => {
  const served = await serveSlowly(500);
  const answer = await fetch(served.url);
  const closed = served.close(60_000);
  await assert.rejects(fetch(served.url));
  assert.equal(await answer.text(), 'first, last');
  const start = performance.now();
  await closed;
  assert.ok(performance.now() - start < 4000, 'it waits for no connection that only might be used again');
});

test('what takes longer than it may is broken off', async () => {
  const served = await serveSlowly(60_000);
  const answer = await fetch(served.url);
  await served.close(200);
  await assert.rejects(answer.text());
});
