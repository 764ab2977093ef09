/** Split execution, on every target: the endpoint embeds, a device without a text encoder denoises; the picture is the endpoint's. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Served } from '@edge-dit/functions/listen';
import { targets } from '@edge-dit/functions/targets/index';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { encodePng } from '@edge-dit/runtime/picture';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { storeCache } from '@edge-dit/runtime/stores/store-cache';
import { embeddingCache, encoderIdentity } from '@edge-dit/runtime/text/embedding-cache';
import { remoteTextEncoder } from '@edge-dit/runtime/text/remote-text-encoder';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { publishEmoji } from './testing/emoji-store.ts';
import { generate } from './testing/endpoint-client.ts';

const emoji = await publishEmoji('w4a8');
after(() => emoji.remove());

const embed = (url: string, body: unknown) =>
  fetch(`${url}/embed`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

for (const target of targets) {
  describe(target.name, () => {
    let served: Served;
    before(async () => {
      served = await target.serve({ store: emoji.store, models: ['emoji'] });
    });
    after(() => served.close());

    test('a device draws what the endpoint draws, and asks for each prompt once', async () => {
      let asked = 0;
      const memory = storeCache(new MemoryStore());
      const pipeline = await Pipeline.open({
        store: emoji.store,
        model: 'emoji',
        kernels: await compileKernels(),
        wrapEncoder: (_own, manifest) => {
          const send = (url: string, init: RequestInit) => {
            asked++;
            return fetch(url, init);
          };
          return embeddingCache(remoteTextEncoder(served.url, manifest, { fetch: send }), manifest, memory);
        },
      });
      const prompt = 'red apple, fluent 3d style';
      const { png } = await generate(served.url, { prompt, seed: 3, steps: 2 });
      const request = { prompt, seed: 3, steps: 2 };
      assert.deepEqual(encodePng(await pipeline.generate(request)), png);
      assert.equal(asked, 2, 'of the prompt, and of the empty one');
      await pipeline.generate({ ...request, seed: 4 });
      assert.equal(asked, 2);
      assert.ok(![...pipeline.meter.held.keys()].some((what) => what.includes('onnx')), 'the device has an encoder');
      await pipeline.close();
    });

    test('what cannot be embedded is refused with the field', async () => {
      for (const [body, status, pointer] of [
        [{}, 422, '#/prompt'],
        [{ prompt: 7 }, 422, '#/prompt'],
        [{ prompt: 'x'.repeat(1001) }, 422, '#/prompt'],
        [{ prompt: 'x', seed: 1 }, 422, '#/seed'],
        [{ prompt: 'x', model: 'other' }, 404, '#/model'],
      ] as const) {
        const response = await embed(served.url, body);
        const { errors } = (await response.json()) as { errors: { pointer: string }[] };
        assert.deepEqual([response.status, errors[0].pointer], [status, pointer], JSON.stringify(body));
      }
      assert.equal((await fetch(`${served.url}/embed`)).status, 405);
    });
  });
}

test('a device takes no embedding of another encoder, none that is damaged, and waits for none for ever', async () => {
  const { manifest } = await Pipeline.open({ store: emoji.store, model: 'emoji', kernels: await compileKernels() });
  const answering = (response: () => Response | Promise<Response>) =>
    remoteTextEncoder('http://endpoint.example', manifest, { fetch: async () => response(), timeoutMs: 100 }).encode([
      'x',
    ]);
  const code = (expected: Parameters<typeof isEdgeDitError>[1]) => (error: unknown) => {
    assert.ok(isEdgeDitError(error, expected), String(error));
    return true;
  };
  await assert.rejects(
    answering(() => new Response(new Uint8Array(64), { headers: { 'x-encoder': 'another' } })),
    code('store-failed'),
  );
  const headers = { 'x-encoder': encoderIdentity(manifest) };
  await assert.rejects(
    answering(() => new Response(new Uint8Array(64), { headers })),
    code('digest-mismatch'),
  );
  await assert.rejects(
    answering(() => Response.json({ detail: 'the prompt is too long' }, { status: 422 })),
    code('invalid-request'),
  );
  await assert.rejects(
    answering(() => Response.json({}, { status: 503 })),
    code('store-failed'),
  );
  // The timeout alone does not keep Node alive; a connection would.
  const connection = setTimeout(() => {}, 5000);
  await assert.rejects(
    remoteTextEncoder('http://endpoint.example', manifest, {
      timeoutMs: 50,
      fetch: (_url, { signal }) =>
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
    }).encode(['x']),
    /no answer in 50 ms/,
  );
  clearTimeout(connection);
});
