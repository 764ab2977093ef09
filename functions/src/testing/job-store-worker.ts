/** A worker whose Durable Object checks its own storage against the conformance of stores: `/<number of the case>`. */
import { DurableObject } from 'cloudflare:workers';
import { DurableJobStore } from '../jobs/durable-job-store.ts';
import { storeCases } from './job-store-conformance.ts';

export class Checked extends DurableObject<unknown> {
  async fetch(request: Request): Promise<Response> {
    try {
      await storeCases[Number(new URL(request.url).pathname.slice(1))].check(new DurableJobStore(this.ctx.storage));
      return new Response('passed');
    } catch (error) {
      return new Response((error as Error).stack, { status: 500 });
    }
  }
}

interface Env {
  readonly CHECKED: { newUniqueId(): unknown; get(id: unknown): { fetch(request: Request): Promise<Response> } };
}

export default {
  fetch: (request: Request, { CHECKED }: Env) => CHECKED.get(CHECKED.newUniqueId()).fetch(request),
};
