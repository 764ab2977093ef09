/** The whole benchmark: pictures, then hosts one after another, so that none disturbs another. Everything is in the report. */

import { createRequire } from 'node:module';
import { cpus, release, totalmem, type } from 'node:os';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type ArtifactServer, serveArtifacts } from './artifact-server.ts';
import type { HostDescription, Part, PartResult, ProfileResult, TimedResult } from './core/parts.ts';
import { repeatDisturbed, type TimedPart } from './disturbance.ts';
import { HostAbsent, type HostKind, type OpenHost } from './hosts/host.ts';
import { cannotPicture, measurePictures, measureStartup, type PicturesResult, type StartupResult } from './pictures.ts';
import { BENCH_PARTS, type BenchPart, type Plan, type Shape, type Size } from './plan.ts';
import type { Subject } from './subject.ts';

export interface BenchReport {
  readonly format: 1;
  readonly date: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryBytes: number;
    readonly system: string;
  };
  readonly versions: Readonly<Record<string, string>>;
  readonly size: Size;
  /** What was asked for. */
  readonly parts: readonly BenchPart[];
  readonly subject: string;
  readonly hosts: readonly HostReport[];
  readonly pictures?: PicturesResult;
  readonly startup?: StartupResult;
  /** What was not measured, and why. */
  readonly absent: readonly { readonly what: string; readonly reason: string }[];
}

export interface HostReport {
  readonly host: HostDescription;
  readonly gemm: readonly (TimedResult & Shape)[];
  readonly step?: TimedResult;
  readonly profile?: ProfileResult;
  /** A step on one thread and on more, where the host has threads and the machine cores. */
  readonly threads?: TimedResult;
  readonly scaling: readonly (TimedResult & { readonly tokens: number; readonly depth: number })[];
}

export interface BenchOptions {
  readonly subject: Subject;
  readonly size: Size;
  readonly plan: Plan;
  /** Default: all. */
  readonly parts?: readonly BenchPart[];
  readonly hosts: readonly HostKind[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (line: string) => void;
  /** Is given what has been measured, after each part: whoever is stopped keeps that. */
  readonly onPart?: (report: BenchReport) => Promise<void>;
}

/** With which one thread is compared. */
export const THREADS = 2;

/** @throws what a part raises, `internal` when outputs differ, `aborted` */
export async function bench(options: BenchOptions): Promise<BenchReport> {
  const { subject, size, parts = BENCH_PARTS, hosts, onProgress = () => {}, onPart = async () => {} } = options;
  const absent: { what: string; reason: string }[] = [];
  const skip = (what: string, reason: string) => {
    absent.push({ what, reason });
    onProgress(`${what}: not measured: ${reason}`);
  };
  const reports: HostParts[] = [];
  if (subject.onnx.length === 0)
    skip('onnxruntime-web on the whole network', 'it needs the checkpoint, not the published model');
  const report = {
    format: 1,
    date: new Date().toISOString(),
    machine: {
      cpu: cpus()[0].model.trim(),
      cores: cpus().length,
      memoryBytes: totalmem(),
      system: `${type()} ${release()}`,
    },
    versions: await versions(),
    size,
    parts,
    subject: subject.name,
    hosts: reports,
    absent,
    ...(parts.includes('pictures') && (await measureAllPictures(options, skip))),
  } as const;
  await onPart(report);
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const { name, make } of subject.onnx) files.set(name, await make());
  const server = await serveArtifacts(subject.store, files);
  try {
    for (const kind of hosts) {
      const host = await openOrSkip(kind, skip);
      if (host === undefined) continue;
      const isFirst = reports.length === 0;
      const filled: HostParts = { host: host.description, gemm: [], scaling: [] };
      reports.push(filled);
      try {
        await measureHost(filled, host, server, options, { isFirst, onPart: () => onPart(report) });
      } finally {
        await host.close();
      }
    }
  } finally {
    await server.close();
  }
  return report;
}

async function openOrSkip(kind: HostKind, skip: (what: string, reason: string) => void): Promise<OpenHost | undefined> {
  try {
    return await kind.open();
  } catch (error) {
    if (!(error instanceof HostAbsent)) throw error;
    skip(kind.name, error.message);
    return undefined;
  }
}

/** A report that is being filled. */
type HostParts = { -readonly [K in keyof HostReport]: HostReport[K] };

/** Fills the report of a host, what matters most first. */
async function measureHost(
  report: HostParts,
  host: OpenHost,
  server: ArtifactServer,
  { subject, plan, parts = BENCH_PARTS, signal, onProgress = () => {} }: BenchOptions,
  { isFirst, onPart }: { readonly isFirst: boolean; readonly onPart: () => Promise<void> },
): Promise<void> {
  const { name, version } = host.description;
  const run = async <P extends Part>(
    what: string,
    part: P,
    keep: (result: PartResult<P>) => Partial<HostParts>,
  ): Promise<void> => {
    goOn(signal);
    onProgress(`${name} ${version}: ${what}`);
    Object.assign(report, keep(await host.run(part)));
    await onPart();
  };
  const timed: TimedPart[] = [];
  const time = async (what: string, part: Exclude<Part, { kind: 'profile' }>, keep: (result: TimedResult) => void) => {
    await run(what, part, (result) => {
      timed.push({ what, result, keep, measure: () => host.run(part) });
      keep(result);
      return {};
    });
  };
  const { effort } = plan;
  const models = subject.models.map((model) => ({ ...model, store: server.storeUrl }));
  const [model] = models;
  const onnx = subject.onnx.map(({ name, tolerance }) => ({ name, tolerance, url: server.fileUrl(name) }));
  const work = { batch: 2, tokens: subject.tokens };
  if (parts.includes('step')) {
    await time('one denoising step', { kind: 'step', models, onnx, work, effort }, (step) => {
      report.step = step;
    });
    const profiling = { kind: 'profile', model, work, steps: plan.profileSteps } as const;
    await run('where its time goes', profiling, (profile) => ({ profile }));
    if (host.description.threads && cpus().length >= THREADS) {
      const threading = { kind: 'threads', model, work, threads: THREADS, effort: plan.threadsEffort } as const;
      await time(`${THREADS} threads`, threading, (threads) => {
        report.threads = threads;
      });
    }
  }
  const gemm = new Map<string, TimedResult & Shape>();
  const shapes = isFirst ? [...plan.gemm, ...plan.manyRows] : plan.gemm;
  for (const shape of parts.includes('linear') ? shapes : []) {
    const what = `linear ${shape.m} x ${shape.k} x ${shape.n}`;
    await time(what, { kind: 'gemm', ...shape, effort }, (result) => {
      gemm.set(what, { ...shape, ...result });
      report.gemm = [...gemm.values()];
    });
  }
  for (const size of isFirst && parts.includes('growth') ? plan.scaling : []) {
    const what = `${size.tokens} tokens, ${size.depth} blocks`;
    await run(what, { kind: 'scaling', ...size, effort }, (result) => ({
      scaling: [...report.scaling, { ...size, ...result }],
    }));
  }
  const onRepeat = (what: string) => {
    goOn(signal);
    onProgress(`${name} ${version}: ${what} again, because the machine was disturbed`);
  };
  await repeatDisturbed(timed, onRepeat, onPart);
}

async function measureAllPictures(
  { subject, plan, signal, onProgress = () => {} }: BenchOptions,
  skip: (what: string, reason: string) => void,
): Promise<Pick<BenchReport, 'pictures' | 'startup'>> {
  const [{ model }] = subject.models;
  onProgress('start of the worker');
  const startup = await measureStartup(model, plan.startupRounds);
  const obstacle = cannotPicture(subject.manifest);
  if (obstacle !== undefined) {
    skip('pictures', obstacle);
    return { startup };
  }
  const rounds = plan.pictureRounds;
  const onRound = (done: number) => {
    goOn(signal);
    onProgress(`pictures: ${done} of ${rounds} rounds`);
  };
  return { startup, pictures: await measurePictures(subject.store, model, subject.manifest, rounds, onRound) };
}

function goOn(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new EdgeDitError('aborted', 'the benchmark was cancelled.', { cause: signal.reason });
}

async function versions(): Promise<Record<string, string>> {
  const { version } = createRequire(import.meta.url)('../../package.json') as { readonly version: string };
  const { env } = await import('onnxruntime-web/wasm');
  return { 'edge-dit': version, 'onnxruntime-web': env.versions.web ?? env.versions.common };
}
