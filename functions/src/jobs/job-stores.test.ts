/** The stores of jobs, each where it runs: in Node, and in a Durable Object of real workerd. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { Miniflare } from 'miniflare';
import { bundleWorker } from '../bundle-worker.ts';
import { WORKERD_COMPATIBILITY } from '../serve-workerd.ts';
import { aJob, storeCases } from '../testing/job-store-conformance.ts';
import { FileJobStore } from './file-job-store.ts';
import type { JobRecord } from './job.ts';
import type { JobStore } from './job-store.ts';
import { MemoryJobStore } from './memory-job-store.ts';

const scratch = await mkdtemp(join(tmpdir(), 'edge-dit-job-stores-'));
after(() => rm(scratch, { recursive: true }));

const stores: Readonly<Record<string, () => Promise<JobStore>>> = {
  memory: async () => new MemoryJobStore(),
  file: async () => FileJobStore.open(await mkdtemp(join(scratch, 'jobs-'))),
};

for (const [name, open] of Object.entries(stores)) {
  describe(name, () => {
    for (const { name, check } of storeCases) test(name, async () => check(await open()));
  });
}

describe('Durable Object', async () => {
  const entry = fileURLToPath(new URL('../testing/job-store-worker.js', import.meta.url));
  const { modules } = await bundleWorker({ entry, outdir: join(scratch, 'worker'), minify: false });
  const worker = new Miniflare({
    ...WORKERD_COMPATIBILITY,
    modules: [...modules],
    modulesRoot: '.',
    durableObjects: { CHECKED: { className: 'Checked', useSQLite: true } },
  });
  after(() => worker.dispose());
  const passes = async (path: string) =>
    assert.equal(await (await worker.dispatchFetch(`http://worker/${path}`)).text(), 'passed');
  for (const [i, { name }] of storeCases.entries()) test(name, () => passes(String(i)));
  test('without a job there is nothing in it', () => passes('nothing'));
});

test('memory: the oldest that have ended make room, and no other', async () => {
  const store = new MemoryJobStore(100_000);
  const jobs = Array.from({ length: 6 }, (_, i) => ({ ...aJob, id: String(i).repeat(32), webhook: undefined }));
  for (const job of jobs) await store.create(job);
  const picture = { seed: 1, width: 8, height: 8, blob: 'picture-0' };
  const end = (i: number, extra: Partial<JobRecord> = {}) =>
    store.commit(
      { ...jobs[i], status: 'succeeded', pictures: [picture], ...extra },
      new Map([[picture.blob, new Uint8Array(30_000)]]),
    );
  // The first has not ended; the second has to tell a webhook.
  await end(1, { webhook: { name: 'w', state: 'due', tries: 0 } });
  for (const i of [2, 3, 4, 5]) await end(i);
  const kept = (await store.ids()).map((id) => Number(id[0]));
  assert.deepEqual(kept, [0, 1, 4, 5]);
  assert.equal(await store.blob(jobs[3].id, 'picture-0'), undefined);
});

test('files: what a process that died left half done is no job, and does no harm', async () => {
  const folder = await mkdtemp(join(scratch, 'left-'));
  const id = '7'.repeat(32);
  await mkdir(join(folder, id));
  await writeFile(join(folder, id, 'job.json.new'), '{"half": ');
  await writeFile(join(folder, 'notes.txt'), 'of somebody else');
  const store = await FileJobStore.open(folder);
  assert.equal(await store.read(id), undefined);
  await store.remove(id);
  assert.deepEqual((await readdir(folder)).sort(), ['lock', 'notes.txt']);
  await assert.rejects(store.read('../../etc'), (error) => isEdgeDitError(error, 'invalid-argument'));
  await store.close();
  assert.deepEqual(await readdir(folder), ['notes.txt']);
});

test('files: a folder is of one process, and that of a dead one is taken over', async () => {
  const folder = await mkdtemp(join(scratch, 'locked-'));
  const program = join(scratch, 'holder.mjs');
  const url = new URL('file-job-store.js', import.meta.url);
  await writeFile(
    program,
    `import { FileJobStore } from ${JSON.stringify(url.href)};
     await FileJobStore.open(process.argv[2]); process.send('held'); setInterval(() => {}, 1000);`,
  );
  const holder = fork(program, [folder]);
  await once(holder, 'message');
  await assert.rejects(FileJobStore.open(folder), (error) => {
    assert.ok(isEdgeDitError(error, 'invalid-argument') && error.message.includes(`process ${holder.pid}`));
    return true;
  });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  await (await FileJobStore.open(folder)).close();
});
