/** What a client wants to have, by its `accept`. */
import { Problem } from '../problem.ts';

export type Representation = 'image/png' | 'application/json' | 'text/event-stream';

interface Range {
  readonly type: string;
  readonly q: number;
}

/**
 * The representation of the highest quality; at equal quality the one that is named most precisely, then the first of
 * `offered`. A type's quality is that of the most precise range that it matches; `q=0` is a refusal.
 */
export function representationOf<T extends Representation>(accept: string | undefined, offered: readonly T[]): T {
  const ranges = (accept ?? '*/*').toLowerCase().split(',').map(rangeOf);
  const rated = offered.map((type) => {
    const matching = [type, `${type.split('/')[0]}/*`, '*/*'];
    const best = matching.findIndex((wanted) => ranges.map((range) => range.type).includes(wanted));
    const q =
      best < 0 ? 0 : Math.max(...ranges.filter((range) => range.type === matching[best]).map((range) => range.q));
    return { type, q, precision: -best };
  });
  rated.sort((a, b) => b.q - a.q || b.precision - a.precision);
  if (rated[0].q > 0) return rated[0].type;
  throw new Problem('not-acceptable', `there is ${offered.join(', ')}; accept one of them, or */*.`);
}

function rangeOf(text: string): Range {
  const [type, ...parameters] = text.split(';').map((part) => part.trim());
  const quality = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
  const q = quality === undefined ? 1 : Number(quality);
  // What is no number between 0 and 1 accepts nothing.
  return { type, q: q >= 0 && q <= 1 ? q : 0 };
}

/** Whether a preference of RFC 7240 is among those of the header. */
export function prefers(header: string | undefined, preference: string): boolean {
  return (header ?? '').split(',').some((item) => item.split(/[;=]/)[0].trim().toLowerCase() === preference);
}
