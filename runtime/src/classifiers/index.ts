/** The list of classifiers. */
import { unknownName } from '../errors.ts';
import type { ClassifierArchitecture } from './classifier.ts';
import { vit } from './vit.ts';

export const classifiers: readonly ClassifierArchitecture[] = [vit];

export function classifierByName(name: string): ClassifierArchitecture {
  const found = classifiers.find(({ names }) => names.includes(name));
  if (found) return found;
  throw unknownName(
    'classifier',
    name,
    classifiers.flatMap(({ names }) => names),
  );
}
