/** From a part of the benchmark to its result, on whatever host this runs. */
import type { BenchHost } from './bench-host.ts';
import { formOf, variantsOf } from './engines.ts';
import { runGemm } from './gemm.ts';
import type { HostDescription, Part, PartResult } from './parts.ts';
import { runProfile } from './profile.ts';
import { runScaling } from './scaling.ts';
import { runStep } from './step.ts';
import { runThreads } from './threads.ts';

export async function runPart<P extends Part>(host: BenchHost, part: P): Promise<PartResult<P>> {
  return (await dispatch(host, part)) as PartResult<P>;
}

function dispatch(host: BenchHost, part: Part): Promise<PartResult> {
  switch (part.kind) {
    case 'gemm':
      return runGemm(host, part);
    case 'step':
      return runStep(host, part);
    case 'profile':
      return runProfile(host, part);
    case 'threads':
      return runThreads(host, part);
    case 'scaling':
      return runScaling(host, part);
  }
}

export function describeHost(host: BenchHost, name: string, version: string): HostDescription {
  const variants = variantsOf(host);
  return { name, version, variants, form: formOf(host, variants[0]), threads: host.threads !== undefined };
}
