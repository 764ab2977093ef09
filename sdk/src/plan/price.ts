/** The work of a picture and a target in, its list price out, by what it is made of. */
import type { PlanTarget } from './targets.ts';

/** US dollars for a million pictures with everything loaded; what is free or included is not taken off. */
export interface Price {
  readonly request: number;
  readonly compute: number;
  readonly reads: number;
  readonly total: number;
  /** Year and month in which the prices were read, and where. */
  readonly read: string;
  readonly sources: readonly string[];
}

export interface PricedWork {
  /** Of one whole processor. */
  readonly cpuMs: number;
  /** Bytes that are reserved. */
  readonly memory: number;
  /** Requests to the object store. */
  readonly reads: number;
}

const MILLION = 1e6;
const GIB = 2 ** 30;

/** Undefined for a place without a list price. */
export function priceOf({ prices, memoryPerCpu }: PlanTarget, { cpuMs, memory, reads }: PricedWork): Price | undefined {
  if (prices === undefined) return undefined;
  // With less memory comes less of a processor, so it takes longer.
  const share = memoryPerCpu === undefined ? 1 : Math.min(1, memory / memoryPerCpu);
  const gbSeconds = ((cpuMs / share / 1000) * memory) / GIB;
  const compute = cpuMs * (prices.millionCpuMs ?? 0) + MILLION * gbSeconds * (prices.gbSecond ?? 0);
  const request = prices.millionRequests;
  const readPrice = reads * prices.millionReads;
  const { read, sources } = prices;
  return { request, compute, reads: readPrice, total: request + compute + readPrice, read, sources };
}
