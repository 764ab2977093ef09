/** What every store of jobs must do, where it runs. A new store is tested by a line in job-stores.test.ts. */
import assert from 'node:assert/strict';
import { type JobDraft, type JobRecord, newJob } from '../jobs/job.ts';
import type { JobStore } from '../jobs/job-store.ts';

export interface StoreCase {
  readonly name: string;
  check(store: JobStore): Promise<void>;
}

const idOf = (i: number) => String(i).repeat(32);
const draft: JobDraft = {
  id: idOf(1),
  owner: 'somebody',
  model: 'm',
  modelDigest: 'ab'.repeat(32),
  request: { prompt: 'Ünïcode 🍎', seed: 1 },
  asked: 'cd'.repeat(32),
  n: 2,
  steps: 4,
  guidance: 1.5,
  webhook: 'w',
};
export const aJob: JobRecord = newJob(draft, 1000);
const job = aJob;
/** More than one value of SQLite may have. */
const LARGE = 2.5 * 2 ** 20;
const bytes = (length: number, first: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + first) % 251);
/** As it is after it was stored: without what is undefined. */
const stored = (record: JobRecord) => JSON.parse(JSON.stringify(record)) as JobRecord;

export const storeCases: readonly StoreCase[] = [
  {
    name: 'a job comes back as it was, and is created once',
    async check(store) {
      assert.equal(await store.read(job.id), undefined);
      assert.equal(await store.create(job), true);
      assert.equal(await store.create({ ...job, model: 'another' }), false);
      assert.deepEqual(stored((await store.read(job.id))!), stored(job));
      assert.deepEqual(await store.ids(), [job.id]);
    },
  },
  {
    name: 'a commit replaces the record and adds blobs; those that it does not name are forgotten',
    async check(store) {
      await store.create(job);
      const first = { ...job, status: 'running', step: 2, checkpoint: 'checkpoint-0-2' } as const;
      await store.commit(first, new Map([['checkpoint-0-2', bytes(100, 1)]]));
      assert.deepEqual(await store.blob(job.id, 'checkpoint-0-2'), bytes(100, 1));
      const picture = { seed: 1, width: 8, height: 8, blob: 'picture-0' };
      const second = { ...first, step: 0, checkpoint: undefined, pictures: [picture] };
      await store.commit(second, new Map([['picture-0', bytes(50, 2)]]));
      assert.equal(await store.blob(job.id, 'checkpoint-0-2'), undefined);
      await store.commit({ ...second, starts: 1 });
      assert.deepEqual(await store.blob(job.id, 'picture-0'), bytes(50, 2));
      assert.deepEqual(stored((await store.read(job.id))!), stored({ ...second, starts: 1 }));
    },
  },
  {
    name: 'blobs of any size, and one of the same name in place of the one before',
    async check(store) {
      await store.create(job);
      const named = { ...job, checkpoint: 'checkpoint-0-1' };
      for (const blob of [bytes(LARGE, 3), bytes(10, 4), bytes(2 ** 20, 5)]) {
        await store.commit(named, new Map([['checkpoint-0-1', blob]]));
        const read = (await store.blob(job.id, 'checkpoint-0-1'))!;
        assert.equal(read.length, blob.length);
        assert.ok(read.every((value, i) => value === blob[i]));
      }
      assert.equal(await store.blob(job.id, 'picture-7'), undefined);
    },
  },
  {
    name: 'what is removed is gone, and may be created again',
    async check(store) {
      await store.create(job);
      await store.commit({ ...job, checkpoint: 'checkpoint-0-1' }, new Map([['checkpoint-0-1', bytes(9, 6)]]));
      await store.remove(job.id);
      assert.equal(await store.read(job.id), undefined);
      assert.equal(await store.blob(job.id, 'checkpoint-0-1'), undefined);
      assert.deepEqual(await store.ids(), []);
      await store.remove(job.id);
      assert.equal(await store.create(job), true);
    },
  },
];
