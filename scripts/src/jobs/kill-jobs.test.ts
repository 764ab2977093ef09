import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { randomOf } from '../random.ts';
import { killJobs } from './kill-jobs.ts';
import { killableServers } from './killable-servers.ts';

const skip = existsSync('/proc/self/task')
  ? false
  : 'children of a process are found by /proc, which this system has not';

for (const target of Object.keys(killableServers)) {
  test(`${target}: jobs outlive processes that are killed, with the same bytes`, { skip }, async (t) => {
    const results = await killJobs({ target, jobs: 6, kills: 3, steps: 10, lifeMs: 400, random: randomOf(5) });
    t.diagnostic(JSON.stringify(results));
    assert.equal(results.kills, 3);
    assert.equal(results.pictures, 9);
  });
}
