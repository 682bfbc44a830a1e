import { Command } from 'commander';
import { CochleaError, listSaes, pull, type PullResult, releases } from '../src/index.ts';
import { interruptSignal, listeners, openOutput, type OutputOptions, printable, table } from './support/console.ts';

interface Flags extends OutputOptions {
  list?: boolean;
  all?: boolean;
  revision?: string;
  offline?: boolean;
}

export function pullCommand(): Command {
  return new Command('pull')
    .summary('Bring a published SAE from the Hugging Face Hub')
    .description('Bring a published SAE from the Hugging Face Hub into its cache folder')
    .argument('[release]', 'a release of the registry, or any repository ORGANISATION/NAME, with @REVISION or without')
    .argument('[id]', 'the SAE of it')
    .option('--list', 'list the releases, or the SAEs of the one given; bring nothing')
    .option('--all', 'all SAEs of a repository')
    .option('--revision <name>', 'branch, tag or commit (main)')
    .option('--offline', 'ask nobody: take what is in the cache, or say what is missing (HF_HUB_OFFLINE=1 says the same)')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .addHelpText('after', '\nThe cache folder is the one of Python\'s huggingface_hub (HF_HUB_CACHE, HF_HOME); a token comes from HF_TOKEN, HF_TOKEN_PATH or `hf auth login`;'
      + '\nHF_ENDPOINT is another Hub. A download that was stopped goes on where it was; every file is compared with its hash.')
    .action(async (name: string | undefined, id: string | undefined, flags: Flags) => {
      const output = openOutput(flags);
      const { revision, offline, all } = flags, { onNotice, onFetch } = listeners(output);
      const asked = { revision, offline, signal: interruptSignal(), onNotice };
      if (name === undefined) {
        if (!flags.list) throw new CochleaError('usage', 'no release is named', '`cochlea pull --list` shows those that are known');
        return output.result(releaseTable(), { releases });
      }
      if (flags.list) {
        const found = await listSaes(name, asked);
        const rows = found.saes.map((sae) => [sae.id, (sae.files.reduce((sum, { size }) => sum + size, 0) / 1e6).toFixed(1)]);
        return output.result([`${found.repo}, commit ${found.revision}, licence ${printable(found.licence ?? 'not stated')}`, table([['SAE', 'MB'], ...rows])].join('\n'), found);
      }
      const result = await pull(name, { ...asked, id, all, onProgress: onFetch });
      output.result(described(result), result);
    });
}

function releaseTable(): string {
  const rows = Object.entries(releases).map(([name, { repo, model, licence }]) => [name, model, repo ?? 'not known', licence ?? '']);
  return [table([['release', 'model', 'repository', 'licence'], ...rows]), '', '`cochlea pull RELEASE --list` shows the SAEs of one, as its repository has them.'].join('\n');
}

function described({ repo, revision, folder, files, downloaded, licence }: PullResult): string {
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return [
    folder, `${repo}, commit ${revision}, licence ${printable(licence ?? 'not stated')}`,
    `${files.length} files, ${(bytes / 1e6).toFixed(1)} MB, of which ${downloaded === 0 ? 'all were there' : `${(downloaded / 1e6).toFixed(1)} MB came now`}`,
    ...files.map(({ path }) => `  ${printable(path)}`),
  ].join('\n');
}
