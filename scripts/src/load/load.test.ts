import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { publishTiny } from '@edge-dit/sdk/testing/tiny-class-model';
import { killableServers } from '../jobs/killable-servers.ts';
import { randomOf } from '../random.ts';
import { load } from './load.ts';

const skip = existsSync('/proc/self/task')
  ? false
  : 'children of a process are found by /proc, which this system has not';

for (const [target, open] of Object.entries(killableServers)) {
  test(`${target}: no wrong picture under load, what is too much is refused, health is answered`, {
    skip,
  }, async (t) => {
    const tiny = await publishTiny();
    const limits = { waiting: 4, waitingPerKey: 4 };
    const server = await open({ storeFolder: tiny.folder, models: ['tiny'], limits, logLevel: 'error' });
    try {
      const bodies = Array.from({ length: 8 }, (_, i) => ({ class: i, seed: i, steps: 5 }));
      const options = {
        server,
        bodies,
        clients: 40,
        seconds: 3,
        warmUpSeconds: 1,
        restSeconds: 1,
        random: randomOf(3),
      };
      const results = await load(options);
      t.diagnostic(JSON.stringify(results));
      assert.equal(results.wrong, 0);
      // How many is a matter of the machine.
      assert.ok(results.pictures > 0 && results.refused[503] > 0 && results.healthMs.count > 0);
    } finally {
      await server.kill();
      await tiny.remove();
    }
  });
}
