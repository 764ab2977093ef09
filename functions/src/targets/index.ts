/** The list of targets. To add one: its file and its line; the conformance test then runs over it. */
import { unknownName } from '@edge-dit/runtime/errors';
import { node } from './node.ts';
import type { Target } from './target.ts';
import { workerd } from './workerd.ts';

export const targets: readonly Target[] = [workerd, node];

/** @throws EdgeDitError `unknown-name` */
export function targetByName(name: string): Target {
  const found = targets.find((target) => target.name === name);
  if (found) return found;
  throw unknownName(
    'target',
    name,
    targets.map((target) => target.name),
  );
}
