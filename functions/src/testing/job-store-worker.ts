/** A worker whose Durable Object checks its own storage against the conformance of stores: `/<number of the case>`. */

import { DurableObject } from 'cloudflare:workers';
import assert from 'node:assert/strict';
import { DurableJobStore } from '../jobs/durable-job-store.ts';
import { aJob, storeCases } from './job-store-conformance.ts';

export class Checked extends DurableObject<unknown> {
  async fetch(request: Request): Promise<Response> {
    const path = new URL(request.url).pathname.slice(1);
    try {
      if (path === 'nothing') await this.#holdsNothing();
      else await storeCases[Number(path)].check(new DurableJobStore(this.ctx.storage));
      return new Response('passed');
    } catch (error) {
      return new Response((error as Error).stack, { status: 500 });
    }
  }

  /** Each id that anybody makes up has an object, and so has each job that was forgotten. */
  async #holdsNothing(): Promise<void> {
    const tables = () =>
      this.ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name IN ('job', 'blob')").toArray();
    const store = new DurableJobStore(this.ctx.storage);
    assert.equal(await store.read(aJob.id), undefined);
    assert.equal(await store.blob(aJob.id, 'picture-0'), undefined);
    assert.deepEqual(await store.ids(), []);
    assert.deepEqual(tables(), []);
    await store.create(aJob);
    await store.remove(aJob.id);
    assert.deepEqual(tables(), []);
    await store.create(aJob);
    assert.deepEqual(await new DurableJobStore(this.ctx.storage).ids(), [aJob.id], 'as the next isolate finds it');
  }
}

interface Env {
  readonly CHECKED: { newUniqueId(): unknown; get(id: unknown): { fetch(request: Request): Promise<Response> } };
}

export default {
  fetch: (request: Request, { CHECKED }: Env) => CHECKED.get(CHECKED.newUniqueId()).fetch(request),
};
