/**
 * A published way to train an SAE on an audio model, as far as it is known: what was trained on what, as flags of `cochlea train`, where each value
 * comes from, what is not known, and what is not done here as it was there. A value that no source gives is not made up: its flag stays at its default.
 */
import { CochleaError } from '../errors.ts';

export interface Recipe {
  name: string;
  /** What it makes, in one line. */
  title: string;
  paper: { authors: string; title: string; year: number; published: string; code?: string };
  /** Where values come from, by the short names that settings and facts refer to. */
  sources: Record<string, string>;
  /** What no flag says: models, hook points, data. */
  facts: readonly { what: string; is: string; from: string }[];
  settings: readonly Setting[];
  /** What no source gives. `flags` stay at their defaults; where there are none, `instead` says what is done. */
  unknown: readonly { what: string; flags?: readonly string[]; instead?: string }[];
  /** What is known but not done here, in short words: `train --recipe` says all of it in one line. */
  notReproduced: readonly string[];
}

/** A flag of `cochlea train` under the name that a --config file has for it. */
export interface Setting {
  flag: string;
  value: string | number | boolean;
  from: string;
  note?: string;
}

/** The settings as a --config file has them. */
export function recipeConfig({ settings }: Recipe): Record<string, Setting['value']> {
  return Object.fromEntries(settings.map(({ flag, value }) => [flag, value]));
}

/** The recipe of this name. Throws `usage` for an unknown one, naming all. */
export function recipeIn(recipes: readonly Recipe[], name: string): Recipe {
  const found = recipes.find((recipe) => recipe.name === name);
  if (!found) throw new CochleaError('usage', `no recipe is known as '${name}'`, `known are ${recipes.map((recipe) => recipe.name).join(', ')}`);
  return found;
}
