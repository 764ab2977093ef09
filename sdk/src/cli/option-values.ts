/** Texts of the command line in, checked values out; what does not fit is a usage error that names the option. */
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { InvalidArgumentError } from 'commander';

export function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      throw new InvalidArgumentError(`Expected an integer from ${least} to ${most}.`);
    }
    return value;
  };
}

export function number(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!(value >= least && value <= most)) {
      throw new InvalidArgumentError(`Expected a number from ${least} to ${most}.`);
    }
    return value;
  };
}

export function oneOf<const T extends string>(...known: readonly T[]): (text: string) => T {
  return (text) => {
    const found = known.find((name) => name === text);
    if (found === undefined) throw new InvalidArgumentError(`Expected one of ${known.join(', ')}.`);
    return found;
  };
}

const FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** `512MiB`, `2GiB`, `128MB`, or bytes. */
export function byteSize(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/.exec(text) ?? [];
  const bytes = Math.floor(Number(digits) * (FACTORS[unit?.toLowerCase() ?? '?'] ?? Number.NaN));
  if (!(bytes >= 1 && Number.isSafeInteger(bytes))) {
    throw new InvalidArgumentError('Expected a size such as 128MB, 512MiB or 2GiB.');
  }
  return bytes;
}

const TIMES: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90d`, `24h`, `30m` or `10s`, in milliseconds. */
export function timeSpan(text: string): number {
  const [, digits, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (unit === undefined) throw new InvalidArgumentError('Expected a time such as 90d, 24h, 30m or 10s.');
  return Number(digits) * TIMES[unit];
}

/** Runs a lookup of the library; what it refuses is a usage error here. */
export function lookup<T>(find: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return find(text);
    } catch (error) {
      if (isEdgeDitError(error)) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}
