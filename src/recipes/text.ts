/** Recipes as text that reads in a terminal and as Markdown: what `cochlea recipes` prints, and docs/recipes.md. */
import type { Recipe } from './recipe.ts';

type Rows = readonly (readonly string[])[];

/** A Markdown table whose columns are padded, so that it can be read as it stands. */
function markdownTable([heading, ...rows]: Rows): string {
  const widths = heading!.map((_, column) => Math.max(...[heading!, ...rows].map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string => `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  return [line(heading!), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}

const list = (items: readonly string[]): string => items.map((item) => `* ${item}`).join('\n');

/** One recipe whole. */
export function recipeText({ name, title, paper, sources, facts, settings, unknown, notReproduced }: Recipe): string {
  const flags = (names: readonly string[]): string => `${names.map((flag) => `\`${flag}\``).join(', ')} ${names.length > 1 ? 'stay at their defaults' : 'stays at its default'}`;
  return [
    `## ${name}`,
    `${title}.`,
    `${paper.authors}: "${paper.title}", ${paper.year}. ${paper.published}.${paper.code === undefined ? '' : ` Code: ${paper.code}.`}`,
    `Flags of \`cochlea train --recipe ${name}\`, by the names that a --config file has:`,
    markdownTable([['flag', 'value', 'from', ''], ...settings.map(({ flag, value, from, note }) => [flag, String(value), from, note ?? ''])]),
    'What was trained on what:',
    list(facts.map(({ what, is, from }) => `**${what}**: ${is} (${from})`)),
    'Not known:',
    list(unknown.map(({ what, flags: names, instead }) => `${what}: ${names ? flags(names) : instead}`)),
    'Known, and not done here:',
    list(notReproduced),
    'Sources:',
    list(Object.entries(sources).map(([key, source]) => `**${key}**: ${source}`)),
  ].join('\n\n');
}

const introduction = `# Recipes

How published SAEs on audio models were trained, as far as abstracts, released code, model cards and other people's notes tell.
\`cochlea recipes\` lists them, \`cochlea recipes NAME\` shows one, \`cochlea train --recipe NAME\` trains with it.

* What is given on the command line or in a --config file wins over the recipe. \`run.json\` has the recipe's name and every flag that differs from it.
* Lengths of schedules keep their share of the run when --steps differs from the recipe's. With another --arch the recipe's options that it does
  not have are left out.
* No value is made up: what no source gives stays at the default of \`cochlea train\`, and is listed. Values **from** notes were not checked against the
  paper: read it before you compare with its numbers.
* \`train --recipe\` says in one line what it does otherwise than the paper did.

This page is \`cochlea recipes --markdown\`; a test holds it.`;

/** docs/recipes.md. */
export function recipesPage(recipes: readonly Recipe[]): string {
  return `${[introduction, ...recipes.map(recipeText)].join('\n\n')}\n`;
}
