/**
 * Loads a model a thousand times from an S3 server through proxies that spoil answers, and says how the loads ended. Fails
 * where a wrong byte reached wasm memory, a load ended without a type or late, or too much was read twice. Writes
 * docs/results/faults.json. Takes --loads, --rate (of each fault) and --seed.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openFaultOrigins } from '@edge-dit/sdk/testing/fault-origins';
import { FAULTS } from '@edge-dit/sdk/testing/fault-proxy';
import { type LoadOutcome, loadUnderFaults } from '@edge-dit/sdk/testing/load-under-faults';
import { openPublicBucket } from '@edge-dit/sdk/testing/public-bucket';
import { randomModel } from '@edge-dit/sdk/testing/random-model';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { root } from './repository.ts';

const LIMIT_MS = 30_000;
/** A timer that is late on a busy machine is no fault of the code. */
const GRACE_MS = 3000;
const MAX_REREAD = 0.1;

const { values } = parseArgs({
  options: {
    loads: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '0.05' },
    seed: { type: 'string', default: '1' },
  },
});
const [loads, rate, seed] = [Number(values.loads), Number(values.rate), Number(values.seed)];
const endpoint = process.env.S3_ENDPOINT;
if (endpoint === undefined) {
  console.error('no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints, and start again');
  process.exit(2);
}

const versions = [await randomModel({ model: 'm', seed }), await randomModel({ model: 'm', seed: seed + 1 })] as const;
const s3 = await openPublicBucket(endpoint);
const origins = await openFaultOrigins({ seed, rate, versions, s3 });
let outcomes: LoadOutcome[];
try {
  outcomes = await loadUnderFaults({
    kernels: await compileKernels(),
    versions,
    stores: origins.stores,
    loads,
    atOnce: 8,
    limitMs: LIMIT_MS,
    onLoad: progress(loads),
  });
} finally {
  await origins.close();
}

const sum = (of: readonly LoadOutcome[], value: (outcome: LoadOutcome) => number) =>
  of.reduce((total, one) => total + value(one), 0);
const results = Object.keys(origins.stores).map((store) => {
  const own = outcomes.filter(({ name }) => name === store);
  const times = own.map(({ ms }) => ms).sort((a, b) => a - b);
  const ends: Record<string, number> = {};
  for (const { end } of own) ends[end] = (ends[end] ?? 0) + 1;
  return {
    store,
    loads: own.length,
    ends,
    rereadOfRead: sum(own, ({ rereadBytes }) => rereadBytes) / sum(own, ({ readBytes }) => readBytes),
    medianMs: Math.round(times[times.length >> 1]),
    slowestMs: Math.round(times.at(-1)!),
  };
});
const faults = Object.fromEntries(
  FAULTS.map((fault) => [fault, origins.proxies.reduce((total, { counts }) => total + counts[fault], 0)]),
);
const requests = origins.proxies.reduce((total, proxy) => total + proxy.requests, 0);
const reread = sum(outcomes, ({ rereadBytes }) => rereadBytes) / sum(outcomes, ({ readBytes }) => readBytes);
const slowest = Math.max(...outcomes.map(({ ms }) => ms));
const whole = outcomes.filter(({ end }) => end === 'whole').length;

console.log(`${loads} loads, ${whole} whole, the others with typed errors; no wrong byte in wasm memory`);
for (const { store, ends, rereadOfRead, medianMs, slowestMs } of results) {
  const ended = Object.entries(ends).map(([end, count]) => `${count} ${end}`);
  console.log(
    `  ${store.padEnd(8)} ${ended.join(', ')}; read twice ${(100 * rereadOfRead).toFixed(1)} %; median ${medianMs} ms, slowest ${slowestMs} ms`,
  );
}
console.log(
  `${requests} requests; ${Object.entries(faults)
    .map(([fault, count]) => `${fault} ${count}`)
    .join(', ')}`,
);
console.log(
  `read twice: ${(100 * reread).toFixed(1)} % (at most ${100 * MAX_REREAD} %); slowest load: ${(slowest / 1000).toFixed(1)} s (at most ${LIMIT_MS / 1000} s)`,
);
if (loads >= 1000) {
  mkdirSync(join(root, 'docs/results'), { recursive: true });
  const report = {
    command: 'npm run evidence:faults',
    node: process.version,
    loads,
    rate,
    seed,
    whole,
    requests,
    faults,
    reread,
    results,
  };
  writeFileSync(join(root, 'docs/results/faults.json'), `${JSON.stringify(report, null, 2)}\n`);
}
process.exitCode = reread <= MAX_REREAD && slowest <= LIMIT_MS + GRACE_MS ? 0 : 1;

function progress(total: number): () => void {
  let done = 0;
  return () => {
    done++;
    if (process.stderr.isTTY || done % 100 === 0) process.stderr.write(`\r${done} of ${total} loads`);
    if (done === total) process.stderr.write('\n');
  };
}
