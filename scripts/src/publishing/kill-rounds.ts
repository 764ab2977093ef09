/**
 * Publishing processes that are killed at random instants, and what the store is like after each: every pointer whole, the
 * next publish complete, no orphan after a prune. Some of the rounds kill a prune instead.
 */
import assert from 'node:assert/strict';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import type { TrustPolicy } from '@edge-dit/runtime/trust';
import { prune } from '@edge-dit/sdk/publish/prune';
import { publish } from '@edge-dit/sdk/publish/publish';
import type { VersionedModels } from '@edge-dit/sdk/testing/versioned-models';
import type { Signing } from '@edge-dit/sdk/trust/sign-manifest';
import { Publisher } from './publisher.ts';
import { assertNoOrphans, verifyAll } from './store-state.ts';

export interface KillRoundsOptions {
  /** The same store twice: for us, and as the processes open it. */
  readonly store: WritableStore;
  readonly place: string;
  /** Of which the published ones are versions; for us, and where the processes find them. */
  readonly models: VersionedModels;
  readonly modelsPlace: string;
  readonly pem: string;
  readonly sign: Signing;
  readonly trust: TrustPolicy;
  readonly rounds: number;
  /** Of [0, 1). */
  readonly random: () => number;
  readonly onRound?: (done: number) => void;
}

export interface KillResults {
  readonly rounds: number;
  /** Of them, in which the process was killed before it was done. */
  readonly killed: number;
  /** Where publishing was when it was killed, by the last step that it told of; and how often. */
  readonly publishKilledAfter: Readonly<Record<string, number>>;
  readonly pruneKilledAfter: Readonly<Record<string, number>>;
  /** Killed publishes whose pointer had moved, and had not. */
  readonly pointerMoved: number;
  readonly pointerUnmoved: number;
  /** Of the publishes after the killed ones: bytes that they found there, and bytes that they sent. */
  readonly resumeFoundBytes: number;
  readonly resumeSentBytes: number;
}

const NAMES = ['first', 'second', 'third'];
/** One round in so many kills a prune. */
const PRUNE_EVERY = 5;
const LEASE_MS = 6000;
/** Shards of one version, at least. */
const DELETES = 6;

export async function killRounds(options: KillRoundsOptions): Promise<KillResults> {
  const { store, place, models, pem, sign, trust, rounds, random, onRound } = options;
  const counts = { killed: 0, pointerMoved: 0, pointerUnmoved: 0, resumeFoundBytes: 0, resumeSentBytes: 0 };
  const after = { publish: new Map<string, number>(), prune: new Map<string, number>() };
  const publishNow = async (model: string, version: number) =>
    publish({ ...(await models.version(model, version)), store, sign });
  for (const name of NAMES) await publishNow(name, 0);
  const whole = await measure(options);
  // Starting one takes longer than what it does: the next starts meanwhile.
  let starting = Publisher.start(options.modelsPlace);
  let before = await verifyAll(store, trust);
  for (let round = 1; round <= rounds; round++) {
    const model = NAMES[Math.floor(random() * NAMES.length)];
    const kind = round % PRUNE_EVERY === 0 ? 'prune' : 'publish';
    if (kind === 'prune') await leaveOrphans(store, await models.version(model, 2 ** 20 + round));
    const publisher = await starting;
    starting = Publisher.start(options.modelsPlace);
    killAtSomeInstant(publisher, kind, whole, random);
    const outcome = await publisher.run(
      kind === 'prune'
        ? { prune: { place, graceMs: 0, leaseMs: LEASE_MS } }
        : { publish: { place, model, version: round, pem } },
    );
    await publisher.end();
    assert.ok(!('failed' in outcome), JSON.stringify(outcome));
    if ('killed' in outcome) {
      counts.killed++;
      const step = publisher.lastStep.replace(/[0-9a-f]{64}/, '*').replace(/models\/\w+/, 'models/*');
      after[kind].set(step, (after[kind].get(step) ?? 0) + 1);
    }
    const now = await verifyAll(store, trust);
    for (const name of NAMES) if (name !== model || kind === 'prune') assert.equal(now.get(name), before.get(name));
    if (kind === 'publish') counts[now.get(model) === before.get(model) ? 'pointerUnmoved' : 'pointerMoved']++;
    // A prune between the two removes what the killed process has sent: then the next one sends it again.
    if (kind === 'prune' || random() < 0.3) await prune({ store, graceMs: 0, leaseMs: LEASE_MS });
    const next = await publishNow(model, round);
    counts.resumeFoundBytes += next.skippedBytes;
    counts.resumeSentBytes += next.sentBytes;
    before = await verifyAll(store, trust);
    assert.equal(before.get(model), next.digest);
    await prune({ store, graceMs: 0, leaseMs: LEASE_MS });
    await assertNoOrphans(store);
    onRound?.(round);
  }
  await (await starting).end();
  const sorted = (counted: Map<string, number>) => Object.fromEntries([...counted].sort((a, b) => b[1] - a[1]));
  return { rounds, ...counts, publishKilledAfter: sorted(after.publish), pruneKilledAfter: sorted(after.prune) };
}

interface Whole {
  readonly ms: number;
  readonly steps: number;
}

/** How long a publish takes that is not killed, and of how many steps it is. */
async function measure({ place, modelsPlace, pem }: KillRoundsOptions): Promise<Whole> {
  const publisher = await Publisher.start(modelsPlace);
  const start = performance.now();
  await publisher.run({ publish: { place, model: NAMES[0], version: 2 ** 19 - 1, pem } });
  const whole = { ms: performance.now() - start, steps: publisher.steps };
  await publisher.end();
  return whole;
}

/**
 * By the clock, or at a step and up to 3 ms later: every gap between two requests, and every request, has its chance. A prune
 * mostly reads; half of those that are killed at a step are killed among their deletes.
 */
function killAtSomeInstant(
  publisher: Publisher,
  kind: 'publish' | 'prune',
  { ms, steps }: Whole,
  random: () => number,
): void {
  if (random() < 0.5) {
    setTimeout(() => publisher.kill(), random() * ms).unref();
    return;
  }
  const amongDeletes = kind === 'prune' && random() < 0.5;
  const delay = random() < 0.5 ? 0 : 3 * random();
  let left = 1 + Math.floor(random() * (amongDeletes ? 2 * DELETES : steps));
  publisher.onStep = (_, step) => {
    if ((amongDeletes && !step.includes('delete shards/')) || --left !== 0) return;
    if (delay === 0) publisher.kill();
    else setTimeout(() => publisher.kill(), delay);
  };
}

/** What a prune has to delete, so that it can be killed while it does. */
async function leaveOrphans(store: WritableStore, { shards }: Awaited<ReturnType<VersionedModels['version']>>) {
  for await (const { sha256, bytes } of shards) await store.put(`shards/${sha256}`, bytes);
}
