/** The list of recipes. */
import { unknownName } from '@edge-dit/runtime/errors';
import { f16 } from './f16.ts';
import type { Recipe } from './recipe.ts';
import { roundToNearest } from './round-to-nearest.ts';
import { viditQ } from './vidit-q.ts';

export const recipes: readonly Recipe[] = [...roundToNearest, ...viditQ, f16];

export function recipeByName(name: string): Recipe {
  const found = recipes.find((recipe) => recipe.name === name);
  if (!found)
    throw unknownName(
      'recipe',
      name,
      recipes.map((recipe) => recipe.name),
    );
  return found;
}
