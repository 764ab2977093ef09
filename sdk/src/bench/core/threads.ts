/** A denoising step on one thread and on several, in hosts that have them: the same bits, or it is not timed. */
import { threadedEngine } from '@edge-dit/runtime/engines/open-threaded-wasm';
import { type OpenedEngine, openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import { type BenchHost, MEMORY_BYTES } from './bench-host.ts';
import { controlCase } from './control.ts';
import { type Case, interleave } from './interleave.ts';
import type { Part, TimedResult } from './parts.ts';
import { checkOutput, type Output } from './relative-error.ts';
import { loadPublished } from './step.ts';
import { stepInputs } from './step-inputs.ts';

type ThreadsPart = Extract<Part, { kind: 'threads' }>;

export async function runThreads(
  benchHost: BenchHost,
  { model, work, threads, effort }: ThreadsPart,
): Promise<TimedResult> {
  const { kernels, threads: host } = benchHost;
  if (host === undefined) throw new Error('this host has no threads');
  const open = threadedEngine({ threads, spawn: host.spawn });
  const opened: OpenedEngine[] = [];
  const cases: Case[] = [];
  const outputs: Output[] = [];
  try {
    opened.push(await openWasmEngine(kernels, new Meter(MEMORY_BYTES)));
    opened.push(await open(host.kernels, new Meter(MEMORY_BYTES)));
    for (const [i, { engine }] of opened.entries()) {
      const { architecture, transformer } = await loadPublished(model, engine);
      const { sample, timesteps, conditions } = stepInputs(architecture.geometry, work);
      const session = transformer.begin(conditions);
      const name = threadsName(i === 0 ? 1 : threads);
      outputs.push({ name, values: await session.forward(sample, timesteps) });
      cases.push({ name, run: async () => void (await session.forward(sample, timesteps)) });
    }
    const checks = [checkOutput(outputs[1], outputs[0], 0)];
    cases.push(await controlCase(benchHost));
    return { cases: await interleave(cases, effort), checks };
  } finally {
    for (const one of opened) one.close();
  }
}

/** Of a case. */
export const threadsName = (threads: number) => (threads === 1 ? '1 thread' : `${threads} threads`);
