import { Command } from 'commander';
import { type Recipe, recipeConfig, recipeOf, recipes, recipesPage, recipeText } from '../src/index.ts';
import { openOutput, type OutputOptions, table } from './support/console.ts';

export function recipesCommand(): Command {
  return new Command('recipes')
    .summary('List how published audio SAEs were trained, or show one whole')
    .description('List how published SAEs on audio models were trained, or show one whole: `train --recipe NAME` trains with it')
    .argument('[name]', 'one of them')
    .option('--markdown', 'print all of them as the page docs/recipes.md')
    .option('--json', 'print one JSON object; `config` of a recipe can be a --config file of train')
    .action((name: string | undefined, options: OutputOptions & { markdown?: boolean }) => {
      const output = openOutput(options);
      const asJson = (recipe: Recipe) => ({ ...recipe, config: recipeConfig(recipe) });
      if (name !== undefined) {
        const recipe = recipeOf(name);
        output.result(recipeText(recipe), asJson(recipe));
        return;
      }
      const listed = [
        table([['name', 'year', 'what it makes'], ...recipes.map((recipe) => [recipe.name, String(recipe.paper.year), recipe.title])]), '',
        '`cochlea recipes NAME` shows each value with its source, what is not known and what is not done here.',
      ].join('\n');
      output.result(options.markdown ? recipesPage(recipes).trimEnd() : listed, { recipes: recipes.map(asJson) });
    });
}
