/** The list of recipes. */
import { unknownName } from '@edge-dit/runtime/errors';
import { f16 } from './f16.ts';
import type { Recipe } from './recipe.ts';
import { w4a8, w4a8g64, w6a6, w8a8 } from './round-to-nearest.ts';

export const recipes: readonly Recipe[] = [w8a8, w6a6, w4a8, w4a8g64, f16];

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
