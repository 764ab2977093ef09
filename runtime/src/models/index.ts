/** The list of architectures. */
import { unknownName } from '../errors.ts';
import type { Architecture } from './architecture.ts';
import { dit } from './dit.ts';
import { pixart } from './pixart.ts';

export const architectures: readonly Architecture[] = [pixart, dit];

export function architectureByName(name: string): Architecture {
  const found = architectures.find(({ names }) => names.includes(name));
  if (!found)
    throw unknownName(
      'architecture',
      name,
      architectures.flatMap(({ names }) => names),
    );
  return found;
}
