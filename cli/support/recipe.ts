/** `train --recipe NAME`: the recipe's flags below those of the command line and of --config. */
import type { Command } from 'commander';
import { type ActivationInfo, CochleaError, type Recipe, recipeConfig, recipeOf } from '../../src/index.ts';
import { architectureHas, isArchitectureFlag } from './architecture-options.ts';
import { flagsOf } from './config-file.ts';
import { isGiven } from './options.ts';
import { trainingFlags } from './training-options.ts';

/** Flags of which one says what the other does. */
const rivals: Record<string, string> = { dSae: 'expansion', expansion: 'dSae', steps: 'epochs', epochs: 'steps' };

/** Lengths of schedules, in steps. */
const schedules = ['lrWarmUpSteps', 'lrDecaySteps', 'l1WarmUpSteps', 'l0WarmUpSteps', 'kAnnealSteps'];

/** What else of a run a recipe may say. */
const runFlags = new Set(['steps', 'epochs', 'batchSize', 'mixingBuffer', 'shuffle', 'pairs', 'poolSeconds']);

/** The recipe that a command was given, and its values by attribute. */
function recipeOfCommand(command: Command): { recipe: Recipe; values: Record<string, unknown> } | undefined {
  const name = command.getOptionValue('recipe') as string | undefined;
  if (name === undefined) return undefined;
  const recipe = recipeOf(name);
  return { recipe, values: flagsOf(command, recipeConfig(recipe), `the recipe ${name}`) };
}

/**
 * Sets what the recipe says and nobody else does. Of an architecture that was replaced by another one's, only what both have. Throws `usage` for an
 * unknown recipe, and where both --steps and --epochs are given.
 */
export function applyRecipe(command: Command): void {
  if (isGiven(command, 'steps') && isGiven(command, 'epochs')) throw new CochleaError('usage', '--steps and --epochs exclude each other', 'give one of them');
  const found = recipeOfCommand(command);
  if (!found) return;
  const architecture = (isGiven(command, 'arch') ? command.getOptionValue('arch') : found.values['arch']) as string;
  for (const [key, value] of Object.entries(found.values)) {
    if (isGiven(command, key) || (rivals[key] !== undefined && isGiven(command, rivals[key]))) continue;
    if (isArchitectureFlag(key) && !architectureHas(architecture, key)) continue;
    command.setOptionValueWithSource(key, value, 'recipe');
  }
  if (!command.getOptionValue('epochs')) keepShares(command);
}

/** Lengths of the recipe's schedules in a run of another length: the same shares of it. */
export function keepShares(command: Command): void {
  const values = (recipeOfCommand(command)?.values ?? {}) as Record<string, number>;
  const theirs = values['steps'], ours = command.getOptionValue('steps') as number;
  if (theirs === undefined) return;
  for (const key of schedules) {
    if (command.getOptionValueSource(key) === 'recipe') command.setOptionValueWithSource(key, Math.round((values[key]! * ours) / theirs), 'recipe');
  }
}

/** Turns --epochs into --steps, now that the rows of an epoch are known. Throws `usage` where they are not. */
export function countSteps(command: Command, rows: number | undefined): void {
  const { epochs, batchSize } = command.opts<{ epochs?: number; batchSize: number }>();
  if (epochs === undefined) return;
  if (rows === undefined) throw new CochleaError('usage', 'how long an epoch is cannot be known before all recordings have been through the model', 'give --steps, or run `cochlea extract` first and train on its store');
  command.setOptionValueWithSource('steps', Math.max(1, Math.floor((rows * epochs) / batchSize)), 'epochs');
  keepShares(command);
}

/** What run.json says of the recipe: its name, and every flag that is not as it has it (`recipe` null: it leaves it to the default). */
export function recipeRecord(command: Command): { name: string; overrides: Record<string, { recipe: unknown; run: unknown }>; not_reproduced: readonly string[] } | undefined {
  const found = recipeOfCommand(command);
  if (!found) return undefined;
  const { recipe, values } = found;
  const differs = (key: string): boolean => {
    const run = command.getOptionValue(key) as unknown;
    return key in values ? JSON.stringify(run) !== JSON.stringify(values[key]) : isGiven(command, key) && (trainingFlags.has(key) || runFlags.has(key) || isArchitectureFlag(key));
  };
  const keys = [...new Set(command.options.map((option) => option.attributeName()))].filter(differs);
  return {
    name: recipe.name, overrides: Object.fromEntries(keys.map((key) => [key, { recipe: values[key] ?? null, run: command.getOptionValue(key) as unknown ?? null }])),
    not_reproduced: recipe.notReproduced,
  };
}

/** What `train` says at once of the recipe it was given, and of stored frames that are not pooled as it has them. */
export function recipeNotices(command: Command, activations: string | undefined, { frameRate, sampleRate }: ActivationInfo): string[] {
  const found = recipeOfCommand(command);
  if (!found) return [];
  const { recipe: { name, notReproduced } } = found;
  const pool = command.getOptionValue('poolSeconds') as number | undefined;
  const unpooled = activations !== undefined && pool !== undefined && sampleRate > 0 && frameRate * pool > 1.5;
  return [
    `recipe ${name}, but not as in the paper: ${notReproduced.join('; ')} (see cochlea recipes ${name})`,
    ...(unpooled ? [`recipe ${name} pools over ${pool} s, and ${activations} has ${Number(frameRate.toPrecision(3))} rows per second: extract it with --pool-seconds ${pool}`] : []),
  ];
}
