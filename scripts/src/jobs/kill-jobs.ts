/**
 * Many jobs at once on an endpoint whose process is killed at random instants, again and again: all end, each with the bytes of
 * an uninterrupted run, and none twice, as far as clients and webhooks can tell.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { listen } from '@edge-dit/functions/listen';
import { publishTiny } from '@edge-dit/sdk/testing/tiny-class-model';
import { type KillableServer, killableServers, type ServingSettings } from './killable-servers.ts';

export interface KillJobsOptions {
  readonly target: string;
  readonly jobs: number;
  readonly kills: number;
  readonly steps: number;
  /** Of [0, 1). */
  readonly random: () => number;
  /** Milliseconds that a process lives at most, once it answers, before it is killed. */
  readonly lifeMs: number;
  readonly onProgress?: (line: string) => void;
}

export interface KillJobsResults {
  readonly target: string;
  readonly jobs: number;
  readonly steps: number;
  readonly pictures: number;
  readonly kills: number;
  /** Jobs that had begun and had not ended at a kill, counted once for each kill. */
  readonly interruptions: number;
  /** Steps at which they were found stored, and how often. */
  readonly foundAtStep: Readonly<Record<string, number>>;
  readonly replayed: number;
  readonly webhooks: { readonly told: number; readonly jobs: number };
}

interface Job {
  readonly id: string;
  readonly status: string;
  readonly completed_at: string | null;
  readonly progress: { readonly pictures: number; readonly step: number };
}

const SECRET = 'a secret of more than 24 characters';
const HEADERS = { 'content-type': 'application/json' };

export async function killJobs(options: KillJobsOptions): Promise<KillJobsResults> {
  const { target, jobs, kills, steps, random, lifeMs, onProgress = () => {} } = options;
  const tiny = await publishTiny();
  const jobsFolder = mkdtempSync(join(tmpdir(), 'edge-dit-jobs-'));
  const told: Job[] = [];
  const receiver = await listen(async (request) => {
    told.push(((await request.json()) as { data: Job }).data);
    return new Response();
  });
  const settings: ServingSettings = {
    storeFolder: tiny.folder,
    models: ['tiny'],
    jobsFolder,
    // A step a slice, so that there is something to find at every step.
    limits: { sliceMs: 1, jobsPerKey: jobs, steps },
    webhooks: { addresses: { receiver: `${receiver.url}/hook` }, secret: SECRET },
    logLevel: 'error',
  };
  const bodyOf = (i: number) => ({ class: i % 10, seed: 1000 + 10 * i, steps, guidance: 2, n: 1 + (i % 2) });
  const found = new Map<number, number>();
  const counts = { interruptions: 0, replayed: 0, kills: 0 };
  const seen = new Map<string, Job>();
  let server: KillableServer | undefined;
  try {
    const ids: string[] = [];
    const submitAll = async ({ url }: KillableServer) => {
      for (let i = 0; i < jobs; i++) {
        const headers = { ...HEADERS, prefer: 'respond-async', 'idempotency-key': `job-${i}` };
        const body = JSON.stringify({ ...bodyOf(i), webhook: 'receiver' });
        const response = await fetch(`${url}/generate`, { method: 'POST', headers, body });
        const answer = await response.text();
        assert.equal(response.status, 202, answer);
        const job = JSON.parse(answer) as Job;
        if (ids[i] !== undefined) {
          assert.equal(job.id, ids[i]);
          assert.equal(response.headers.get('idempotent-replayed'), 'true', 'a job that was accepted is known');
          counts.replayed++;
        }
        ids[i] = job.id;
      }
    };
    /** What clients see never goes back. */
    const look = async ({ url }: KillableServer, id: string) => {
      const job = (await (await fetch(`${url}/jobs/${id}`)).json()) as Job;
      const before = seen.get(id);
      if (before?.completed_at) assert.deepEqual(job, before, 'a job that has ended stays as it was');
      seen.set(id, job);
      return job;
    };
    for (let kill = 1; kill <= kills; kill++) {
      server = await killableServers[target](settings);
      await submitAll(server);
      for (const id of ids) {
        const { status, progress } = await look(server, id);
        if (kill === 1 || status !== 'running') continue;
        counts.interruptions++;
        found.set(progress.step, (found.get(progress.step) ?? 0) + 1);
      }
      await sleep(lifeMs * random());
      await server.kill();
      server = undefined;
      counts.kills++;
      onProgress(
        `${target}: killed ${kill} of ${kills} times, ${[...seen.values()].filter((job) => job.completed_at).length} of ${jobs} jobs have ended`,
      );
    }
    server = await killableServers[target](settings);
    await submitAll(server);
    for (let left = ids; left.length > 0; ) {
      await sleep(200);
      const views = [];
      for (const id of left) views.push(await look(server, id));
      left = views.filter(({ completed_at }) => completed_at === null).map(({ id }) => id);
      onProgress(`${target}: ${jobs - left.length} of ${jobs} jobs have ended`);
    }
    const { url }: KillableServer = server;
    let pictures = 0;
    for (const [i, id] of ids.entries()) {
      assert.equal(seen.get(id)?.status, 'succeeded');
      const { n, ...body } = bodyOf(i);
      for (let index = 0; index < n; index++) {
        const result = await fetch(`${url}/jobs/${id}/result?index=${index}`);
        const asked = JSON.stringify({ ...body, seed: body.seed + index });
        const whole = await fetch(`${url}/generate`, { method: 'POST', headers: HEADERS, body: asked });
        assert.equal(await digestOf(result), await digestOf(whole), `job ${i}, picture ${index}`);
        pictures++;
      }
    }
    // The last of them may still be on their way.
    for (let tries = 0; tries < 50 && new Set(told.map(({ id }) => id)).size < jobs; tries++) await sleep(200);
    for (const job of told) assert.deepEqual(job, seen.get(job.id), 'all that a webhook was told of a job is one');
    assert.equal(new Set(told.map(({ id }) => id)).size, jobs);
    const foundAtStep = Object.fromEntries([...found].sort(([a], [b]) => a - b));
    const webhooks = { told: told.length, jobs };
    return { target, jobs, steps, pictures, ...counts, foundAtStep, webhooks };
  } finally {
    await server?.kill();
    await receiver.close();
    await tiny.remove();
    rmSync(jobsFolder, { recursive: true, force: true });
  }
}

async function digestOf(response: Response): Promise<string> {
  assert.equal(response.status, 200);
  return createHash('sha256')
    .update(new Uint8Array(await response.arrayBuffer()))
    .digest('hex');
}
