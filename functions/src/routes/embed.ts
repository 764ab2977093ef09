/** `POST /embed`: what a text encoder makes of a prompt, for devices that denoise without one: `remoteTextEncoder`. */
import { encoderIdentity, packEmbedding } from '@edge-dit/runtime/text/embedding-cache';
import type { AppContext, Endpoint } from '../app-env.ts';
import { createEmbedParser } from '../generate-request.ts';
import { bodyReader } from './read-body.ts';

export function embedHandler({ models, scheduler, limits }: Endpoint): (c: AppContext) => Promise<Response> {
  const readBody = bodyReader(limits);
  const parseRequest = createEmbedParser(limits);
  return async (c) => {
    const { signal } = c.req.raw;
    const { model, prompt } = parseRequest(await readBody(c));
    const work = () => models.embed(model, prompt, signal);
    const { pipeline, embedding } = await scheduler.take(c.get('key').name, work, { signal });
    return new Response((await packEmbedding(embedding)) as Uint8Array<ArrayBuffer>, {
      headers: {
        'content-type': 'application/octet-stream',
        'cache-control': 'no-store',
        'x-model': pipeline.manifest.model,
        'x-model-digest': pipeline.digest,
        'x-encoder': encoderIdentity(pipeline.manifest),
      },
    });
  };
}
