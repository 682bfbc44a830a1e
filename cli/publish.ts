import { Command, Option } from 'commander';
import { publish, type PublishResult } from '../src/index.ts';
import { interruptSignal, openOutput, type OutputOptions, table } from './support/console.ts';

interface Flags extends OutputOptions {
  repo: string;
  revision?: string;
  message?: string;
  private?: boolean;
  public?: boolean;
  licence?: string;
  dataset?: string[];
  baseModel?: string;
  dryRun?: boolean;
  offline?: boolean;
}

export function publishCommand(): Command {
  return new Command('publish')
    .summary('Publish SAEs on the Hugging Face Hub, with a model card')
    .description('Publish SAEs on the Hugging Face Hub: SAELens\' layout, one folder each, with a model card')
    .argument('<folders...>', 'folders of SAEs, or of runs of many')
    .requiredOption('--repo <user/name>', 'repository; made where it is missing')
    .option('--revision <branch>', 'branch to commit to; made where it is missing (main)')
    .option('--message <text>', 'title of the commit')
    .addOption(new Option('--private', 'a new repository is private, as it is unless --public is given').conflicts('public'))
    .option('--public', 'a new repository is public')
    .option('--licence <id>', 'licence for the card, by its id on the Hub, such as mit or cc-by-4.0')
    .option('--dataset <id...>', 'data sets for the card, by their ids on the Hub')
    .option('--base-model <id>', 'model for the card, by its id on the Hub')
    .option('--dry-run', 'show what would go up, and the card; make and send nothing')
    .option('--offline', 'with --dry-run: do not ask what the repository has')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .addHelpText('after', '\nThe token is that of HF_TOKEN, HF_TOKEN_PATH or `hf auth login`. Files that the repository has already are not sent.')
    .action(async (folders: string[], { revision, dataset, ...flags }: Flags) => {
      const output = openOutput(flags);
      const result = await publish({
        ...flags, folders, branch: revision, datasets: dataset, visibility: flags.public ? 'public' : 'private', signal: interruptSignal(),
        onNotice: (line) => output.notice(line),
        onProgress: ({ path, share, state }) => output.progress(`${state} ${path}: ${(100 * share).toFixed(0)} %`),
      });
      output.result(flags.dryRun ? plan(result, flags.offline ?? false) : outcome(result), result);
    });
}

function plan({ repo, creates, private: isPrivate, files, card }: PublishResult, unasked: boolean): string {
  const where = unasked ? `${repo} (nobody was asked whether it is there)` : creates ? `${repo}, which would be made, ${isPrivate ? 'private' : 'public'}` : `${repo}, which is ${isPrivate ? 'private' : 'public'}`;
  return [`to ${where}:`, table([['', 'bytes', 'SHA-256', 'path'], ...files.map(({ state, size, sha256, path }) => [state, String(size), sha256, path])]), '', 'README.md:', card].join('\n');
}

function outcome({ repo, files, commit, url, private: isPrivate }: PublishResult): string {
  if (commit === undefined) return `${repo} has all of it already`;
  const sent = files.filter(({ state }) => state !== 'same');
  return `${sent.length} files, ${sent.reduce((sum, { size }) => sum + size, 0)} bytes: ${url} (${isPrivate ? 'private' : 'public'}), commit ${commit}`;
}
