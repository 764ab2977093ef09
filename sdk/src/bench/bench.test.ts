/**
 * The benchmark on work so small that it takes no time. What it compares must be equal in every host; nothing is
 * asserted about how long anything takes.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { runCli } from '../cli/testing/run-cli.ts';
import { makeTinyPipeline, type TinyName } from '../cli/testing/tiny-pipeline.ts';
import { type BenchReport, bench } from './bench.ts';
import type { Effort, TimedResult } from './core/parts.ts';
import { checkOutput } from './core/relative-error.ts';
import type { HostKind } from './hosts/host.ts';
import { hosts } from './hosts/index.ts';
import { nodeHost } from './hosts/node.ts';
import { isYardstick } from './report/figures.ts';
import { markdownOf } from './report/markdown.ts';
import { saveReport } from './report/save.ts';
import { subjectFromCheckpoint, subjectFromModel } from './subject.ts';

const effort: Effort = { rounds: 1, sampleMs: 0, warmUpMs: 0 };
const plan = {
  effort,
  threadsEffort: effort,
  gemm: [
    { m: 7, n: 20, k: 36 },
    { m: 1, n: 8, k: 4 },
  ],
  manyRows: [{ m: 9, n: 8, k: 4 }],
  profileSteps: 1,
  scaling: [
    { tokens: 16, depth: 1 },
    { tokens: 64, depth: 1 },
    { tokens: 16, depth: 2 },
  ],
  pictureRounds: 0,
  startupRounds: 0,
};

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'edge-dit-bench-test-'));
});
after(() => rm(folder, { recursive: true }));

function assertComplete({ cases, checks }: TimedResult, names: readonly string[]): void {
  assert.deepEqual(
    cases.map(({ name }) => name).filter((name) => names.includes(name)),
    names,
  );
  for (const { name, milliseconds } of cases) {
    assert.ok(milliseconds.length === effort.rounds && milliseconds.every((ms) => ms >= 0), name);
  }
  for (const { name, relativeError, tolerance } of checks) assert.ok(relativeError <= tolerance, name);
}

async function measure(name: TinyName, kinds: readonly HostKind[]) {
  const subject = await subjectFromCheckpoint(await makeTinyPipeline(folder, name));
  try {
    return { subject, report: await bench({ subject, size: 'quick', plan, hosts: kinds }) };
  } finally {
    await subject.close();
  }
}

function assertHost(report: Awaited<ReturnType<typeof measure>>['report'], index = 0): void {
  const { gemm, step, profile, threads, scaling, host } = report.hosts[index];
  const [variant] = host.variants;
  for (const result of gemm) {
    const codes = ['w4', 'w8'].flatMap((form) => [`${variant}/${form}/layer`, `${variant}/${form}/product`]);
    const ours = [...codes, `${variant}/f32/layer`];
    const theirs = ['fp32', 'int8', 'int4'].map((form) => `onnxruntime/${form}`);
    assertComplete(result, [...ours, ...theirs]);
    assert.ok(result.checks.length >= 6);
    assert.ok(result.cases.some((one) => one.name === `ceiling/${variant === 'relaxed' ? 'relaxed_dot' : 'i16_dot'}`));
  }
  const models = ['w4a8', 'w8a8', 'f16'].map((name) => `wasm-${variant}/${name}`);
  assertComplete(step!, [...models, 'onnxruntime/fp32', 'onnxruntime/int8-dynamic', 'onnxruntime/int4']);
  assert.equal(step!.checks.length, 5);
  const { kernels, macs } = profile!;
  assert.ok(macs.linear > 0 && macs.attention > 0);
  assert.ok(kernels.some(({ kernel, calls }) => kernel === 'linear_u7' && calls > 0));
  assert.equal(threads !== undefined, host.threads === true && availableParallelism() > 1);
  if (threads) {
    assertComplete(threads, ['1 thread', '2 threads']);
    assert.equal(threads.checks[0].relativeError, 0);
  }
  assert.equal(scaling.length, index === 0 ? plan.scaling.length : 0);
}

test('Node: a model of classes and one of text, with micro-conditions; the report says all of it', async () => {
  const { report } = await measure('dit', [nodeHost()]);
  assertHost(report);
  const text = markdownOf(report);
  for (const part of [
    'Linear layers, Node',
    '|    7 |  36 |  20 |',
    'onnxruntime/int8-dynamic',
    'softmax',
    'tokens^',
    'blocks^',
  ])
    assert.ok(text.includes(part), `${part} in\n${text}`);
  const { report: ofText } = await measure('pixart-microcond', [nodeHost()]);
  assertHost(ofText);
  assert.match(ofText.absent[0].reason, /no text encoder/);
  const [, plot, raw] = await saveReport(ofText, join(folder, 'saved'));
  assert.match(await readFile(plot, 'utf8'), /^<svg [\s\S]*<\/svg>\n$/);
  assert.deepEqual(JSON.parse(await readFile(raw, 'utf8')), JSON.parse(JSON.stringify(ofText)));
});

test('who stops a benchmark keeps what it measured', async () => {
  const subject = await subjectFromCheckpoint(await makeTinyPipeline(folder, 'dit'), ['w4a8']);
  const stop = new AbortController();
  const kept: BenchReport[] = [];
  const onPart = async (report: BenchReport) => {
    kept.push(structuredClone(report));
    if (kept.length === 3) stop.abort();
  };
  try {
    const stopped = bench({ subject, size: 'quick', plan, hosts: [nodeHost()], signal: stop.signal, onPart });
    await assert.rejects(stopped, { code: 'aborted' });
  } finally {
    await subject.close();
  }
  const [pictures, ...parts] = kept;
  assert.ok(pictures.startup && pictures.hosts.length === 0);
  const [first, second] = parts.map(({ hosts: [host] }) => host);
  assert.ok(first.step && first.profile === undefined);
  assert.ok(second.step && second.profile);
  assert.match(markdownOf(kept[2]), /Where its time goes/);
});

test('workerd compares and measures the same', async () => {
  const workerd = hosts.find(({ name }) => name === 'workerd')!;
  const { report } = await measure('dit', [workerd]);
  assertHost(report);
  assert.equal(report.hosts[0].host.name, 'workerd');
});

test('Chromium compares and measures the same', {
  skip: process.env.CHROMIUM_PATH ? false : 'CHROMIUM_PATH is not set',
}, async () => {
  const chromium = hosts.find(({ name }) => name === 'chromium')!;
  assertHost((await measure('dit', [chromium])).report);
});

test('a published model is measured alone, and a host that is not there is said', async () => {
  const made = await subjectFromCheckpoint(await makeTinyPipeline(folder, 'dit'), ['w4a8']);
  try {
    const subject = await subjectFromModel('a store', made.store, 'w4a8');
    const nowhere = join(folder, 'no-node');
    const report = await bench({
      subject,
      size: 'quick',
      plan,
      parts: ['step'],
      hosts: [nodeHost(nowhere), nodeHost()],
    });
    assert.deepEqual([report.startup, report.hosts[0].gemm, report.hosts[0].scaling], [undefined, [], []]);
    assert.match(markdownOf(report), /only step,/);
    assert.deepEqual(
      report.hosts.map(({ step }) => step!.cases.filter((one) => !isYardstick(one)).length),
      [1],
    );
    assert.deepEqual(
      report.absent.map(({ what }) => what),
      ['onnxruntime-web on the whole network', `node (${nowhere})`],
    );
  } finally {
    await made.close();
  }
});

test('the command needs to be told what to measure', async () => {
  const none = await runCli(['bench'], folder);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /--checkpoint <folder> or --model <model>/);
  const unknown = await runCli(['bench', '--model', 'x', '--host', 'deno'], folder);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /workerd, node, chromium/);
  const part = await runCli(['bench', '--model', 'x', '--part', 'sound'], folder);
  assert.equal(part.code, 2);
  assert.match(part.stderr, /pictures, step, linear, growth/);
});

test('outputs that differ are not timed', () => {
  const output = (...values: number[]) => ({ name: 'a', values: Float32Array.from(values) });
  assert.equal(checkOutput(output(3, 4), output(3, 4), 0).relativeError, 0);
  assert.ok(Math.abs(checkOutput(output(3, 4.5), output(3, 4), 0.2).relativeError - 0.1) < 1e-6);
  for (const other of [output(3, 5), output(3, Number.NaN), output(3)]) {
    assert.throws(
      () => checkOutput(other, output(3, 4), 0.1),
      (error) => isEdgeDitError(error, 'internal'),
    );
  }
});
