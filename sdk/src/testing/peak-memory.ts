/** How much memory a process has held at most, as Linux counts it. */
import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';

export interface PeakMemory {
  /** Bytes of the resident set at most, until now or until the process ended; 0 where the system does not say. */
  readonly bytes: number;
}

const INTERVAL_MS = 50;
const KIB = 1024;

/** Looks until the process ends; what the kernel remembers never falls, so little is missed between two looks. */
export function watchPeakMemory({ pid }: ChildProcess): PeakMemory {
  const peak = { bytes: 0 };
  const look = async () => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    const [, kibibytes = '0'] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? [];
    peak.bytes = Math.max(peak.bytes, KIB * Number(kibibytes));
    if (status === '') clearInterval(timer);
  };
  const timer = setInterval(() => void look(), INTERVAL_MS);
  return peak;
}
