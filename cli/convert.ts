import { Command, InvalidArgumentError, Option } from 'commander';
import { convertSae, loaders, writers } from '../src/index.ts';
import { openOutput, type OutputOptions } from './support/console.ts';
import { positiveNumber } from './support/options.ts';

interface Flags extends OutputOptions {
  to: string;
  from?: string;
  id?: string;
  threshold?: number | 'per-frame';
  scale?: number;
}

export function convertCommand(): Command {
  const list = (title: string, entries: readonly { name: string; title: string }[]): string => `\n${title}\n${entries.map((entry) => `  ${entry.name.padEnd(24)}${entry.title}`).join('\n')}\n`;
  return new Command('convert')
    .summary('Write an SAE in the form of another project')
    .description('Write an SAE of any published form in another form')
    .argument('<in>', 'folder of the SAE, or its file where a folder holds one SAE per file')
    .argument('<out>', 'folder to write')
    .addOption(new Option('--to <form>', 'form to write').choices(writers.map(({ name }) => name)).makeOptionMandatory())
    .addOption(new Option('--from <family>', 'whose SAE it is, where its files do not say it').choices(loaders.map(({ name }) => name)))
    .option('--id <path>', 'the SAE below the folder')
    .option('--threshold <number>', 'of a BatchTopK SAE without one: its threshold, or per-frame to keep the k largest of each frame', threshold)
    .option('--scale <number>', 'factor of the frames in training, where the SAE was trained on scaled frames and its files do not say by how much', positiveNumber)
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .addHelpText('after', list('Forms:', writers) + list('Families:', loaders))
    .action(async (input: string, out: string, { to, from, id, threshold: given, scale, ...flags }: Flags) => {
      const output = openOutput(flags);
      const result = await convertSae(input, out, { to, ...(from && { loader: from }), ...(id !== undefined && { id }), ...(given !== undefined && { threshold: given }), ...(scale && { scale }) });
      for (const note of result.notes) output.notice(`note: ${note}`);
      output.result(`a ${result.architecture} SAE of ${result.dSae} latents, read as ${result.from}, written for ${result.to}: ${result.files.join(', ')} in ${result.out}`, result);
    });
}

function threshold(text: string): number | 'per-frame' {
  if (text === 'per-frame') return text;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('it must be a number, or per-frame.');
  return value;
}
