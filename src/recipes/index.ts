import { ard } from './ard.ts';
import { audiosae } from './audiosae.ts';
import { mariotte } from './mariotte.ts';
import { paek } from './paek.ts';
import { plantingaPd } from './plantinga-pd.ts';
import { type Recipe, recipeIn } from './recipe.ts';

export { type Recipe, recipeConfig, type Setting } from './recipe.ts';
export { recipesPage, recipeText } from './text.ts';

/** All recipes, in the order of the listing. */
export const recipes: readonly Recipe[] = [audiosae, mariotte, ard, plantingaPd, paek];

/** Throws `usage` for an unknown name. */
export const recipeOf = (name: string): Recipe => recipeIn(recipes, name);
