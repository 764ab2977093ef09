import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Problem } from '../problem.ts';
import { ANYBODY, type ApiKey } from './api-keys.ts';
import { RateLimits } from './rate-limits.ts';

const key = (extra: Partial<ApiKey>): ApiKey => ({ ...ANYBODY, name: 'app', ...extra });
const tooMany = (retryAfter: number) => (error: unknown) => {
  assert.ok(error instanceof Problem && error.code === 'too-many-requests', `${error}`);
  assert.equal(error.headers['retry-after'], String(retryAfter));
  return true;
};

test('a minute has so many requests, evenly: who asks too soon is told after how many seconds to come back', async () => {
  let now = 1_000_000;
  const limits = new RateLimits(undefined, () => now);
  const app = key({ requestsPerMinute: 3 });
  for (let i = 0; i < 3; i++) await limits.admit(app);
  await assert.rejects(limits.admit(app), tooMany(20));
  now += 18_500;
  await assert.rejects(limits.admit(app), tooMany(2));
  now += 1600;
  await limits.admit(app);
  await assert.rejects(limits.admit(app), tooMany(20));
  now += 3_600_000;
  for (let i = 0; i < 3; i++) await limits.admit(app);
  await assert.rejects(limits.admit(app), tooMany(20), 'an hour of silence is no hour of requests');
});

test('so many at once; an end that is said twice is one end', async () => {
  const limits = new RateLimits();
  const app = key({ concurrency: 2 });
  const [end] = [await limits.admit(app), await limits.admit(app)];
  await assert.rejects(limits.admit(app), tooMany(1));
  end();
  end();
  await limits.admit(app);
  await assert.rejects(limits.admit(app), tooMany(1));
});

test("whom the platform's limiter refuses, or fails, does not count as under way", async () => {
  const answers = [{ success: false }, new Error('the limiter is down'), { success: true }];
  const limits = new RateLimits({
    async limit({ key: name }) {
      assert.equal(name, 'app');
      const answer = answers.shift()!;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  const app = key({ concurrency: 1 });
  await assert.rejects(limits.admit(app), tooMany(10));
  await assert.rejects(limits.admit(app), /the limiter is down/);
  await limits.admit(app);
});
