/**
 * What places permit and what they cost, as their operators list it: beyond what is free, without taxes. Prices change: each
 * has the month in which it was read and where. To add a place: its entry here.
 */
import { unknownName } from '@edge-dit/runtime/errors';

export interface Prices {
  /** US dollars. */
  readonly millionRequests: number;
  readonly millionCpuMs?: number;
  /** Of memory that is reserved while a request runs. */
  readonly gbSecond?: number;
  /** Reads of the object store. */
  readonly millionReads: number;
  /** Year and month. */
  readonly read: string;
  readonly sources: readonly string[];
}

export interface PlanTarget {
  readonly name: string;
  readonly summary: string;
  /** Default of --memory, in bytes. */
  readonly memory: number;
  /** The most that can be had. */
  readonly maxMemory?: number;
  /** Of a request, in milliseconds: without being asked for, and at most. */
  readonly cpuMs?: { readonly usual: number; readonly most: number };
  /** Requests to other places in one request, calls of the Cache API and of a bucket included. */
  readonly subrequests?: number;
  /** Where shards go through a cache whose calls are requests too: what is there is one; what is not is asked for, fetched, kept. */
  readonly cacheCalls?: { readonly hit: number; readonly miss: number };
  /** Bytes of memory that come with a whole processor; with less comes less of one. */
  readonly memoryPerCpu?: number;
  readonly prices?: Prices;
}

const MIB = 2 ** 20;
const SECOND = 1000;
const MINUTE = 60 * SECOND;

const CLOUDFLARE = {
  read: '2026-08',
  sources: [
    'https://developers.cloudflare.com/workers/platform/pricing/',
    'https://developers.cloudflare.com/r2/pricing/',
  ],
};

const CACHE_API = { hit: 1, miss: 3 };

export const planTargets: readonly PlanTarget[] = [
  {
    name: 'cloudflare-workers',
    summary: 'Cloudflare Workers, paid plan, with R2',
    memory: 128 * MIB,
    maxMemory: 128 * MIB,
    cpuMs: { usual: 30 * SECOND, most: 5 * MINUTE },
    subrequests: 10_000,
    cacheCalls: CACHE_API,
    prices: { millionRequests: 0.3, millionCpuMs: 0.02, millionReads: 0.36, ...CLOUDFLARE },
  },
  {
    name: 'cloudflare-workers-free',
    summary: 'Cloudflare Workers, free plan, with R2',
    memory: 128 * MIB,
    maxMemory: 128 * MIB,
    cpuMs: { usual: 10, most: 10 },
    subrequests: 50,
    cacheCalls: CACHE_API,
    prices: { millionRequests: 0, millionCpuMs: 0, millionReads: 0, ...CLOUDFLARE },
  },
  {
    name: 'lambda',
    summary: 'AWS Lambda, x86, us-east-1, with S3',
    memory: 1769 * MIB,
    maxMemory: 10_240 * MIB,
    cpuMs: { usual: 15 * MINUTE, most: 15 * MINUTE },
    memoryPerCpu: 1769 * MIB,
    prices: {
      millionRequests: 0.2,
      gbSecond: 0.0000166667,
      millionReads: 0.4,
      read: '2026-06',
      sources: ['https://aws.amazon.com/lambda/pricing/', 'https://aws.amazon.com/s3/pricing/'],
    },
  },
  { name: 'node', summary: 'a machine of your own, with Node', memory: 128 * MIB },
];

/** @throws EdgeDitError `unknown-name` */
export function planTargetByName(name: string): PlanTarget {
  const found = planTargets.find((target) => target.name === name);
  if (found) return found;
  throw unknownName(
    'target',
    name,
    planTargets.map((target) => target.name),
  );
}
