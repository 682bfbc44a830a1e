import { Command } from 'commander';
import { ActivationStore, CochleaError, type FrameStatistics, readMetrics, readSaelensFolder, runtime } from '../src/index.ts';
import { openOutput, type OutputOptions, table } from './support/console.ts';

export function infoCommand(): Command {
  return new Command('info')
    .summary('Show what a folder holds: an SAE, a training run, or activations')
    .description('What a folder holds: an SAE, a training run, or an activation store')
    .argument('<folder>')
    .option('--json', 'print one JSON object')
    .action(async (folder: string, flags: OutputOptions) => {
      const { files, paths } = runtime;
      const output = openOutput(flags);
      if (!await files.info(folder)) throw new CochleaError('file-missing', `no such folder: ${folder}`);
      if (await files.info(paths.join(folder, 'cfg.json'))) return output.result(...await saeFacts(folder));
      if (await files.info(paths.join(folder, 'run.json'))) {
        const last = (await readMetrics(paths.join(folder, 'metrics.jsonl'))).at(-1);
        const resumable = await files.info(paths.join(folder, 'checkpoints')) !== undefined;
        return output.result(`a training run that has not finished${last ? `: step ${last.step}, explained variance ${(last.explainedVariance ?? NaN).toFixed(4)}` : ''}; `
          + (resumable ? '--resume goes on' : 'it has no checkpoint'), { kind: 'unfinished run', last, resumable });
      }
      // A run has a manifest.json of its own.
      if (await files.info(paths.join(folder, 'manifest.json'))) return output.result(...await storeFacts(folder));
      throw new CochleaError('file-missing', `${folder} holds neither an SAE (cfg.json) nor activations (manifest.json) nor a training run (run.json)`);
    });
}

async function saeFacts(folder: string): Promise<[string, unknown]> {
  const { config, form, tensors, logSparsity } = await readSaelensFolder(folder);
  const { metadata, ...fields } = config;
  const shapes = Object.fromEntries([...tensors].map(([name, { shape }]) => [name, shape]));
  const facts = { kind: 'sae', form, config, tensors: shapes };
  const rows = [
    ...Object.entries(fields).map(([name, value]) => [name, JSON.stringify(value)]),
    ...Object.entries(metadata).map(([name, value]) => [`metadata.${name}`, JSON.stringify(value)]),
    ...Object.entries(shapes).map(([name, shape]) => [name, `[${shape.join(', ')}]`]),
    ...(logSparsity ? [['never fired in the last window', logSparsity.some(Number.isNaN) ? 'not known: the window held no frames' : `${logSparsity.filter((value) => value <= -10).length} latents`]] : []),
  ];
  return [`an SAE in SAELens' ${form} form\n${table(rows)}`, facts];
}

async function storeFacts(folder: string): Promise<[string, unknown]> {
  const { manifest } = await ActivationStore.open(folder);
  const { info, targetInfo, dtype, rows, clips, shards, statistics, targetStatistics } = manifest;
  const sizes = (prefix: string, moments: FrameStatistics | undefined): string[][] =>
    (moments ? [[`${prefix}mean norm`, moments.meanNorm.toFixed(3)], [`${prefix}gamma`, moments.gamma.toFixed(3)]] : []);
  const lines = [
    ...Object.entries(info).map(([name, value]) => [name, typeof value === 'object' && value !== null ? Object.values(value).join(' ') : String(value)]),
    ...Object.entries(targetInfo ?? {}).map(([name, value]) => [`target ${name}`, String(value)]),
    ['frames', String(rows)], ['sound', `${(rows / info.frameRate / 3600).toFixed(2)} h`], ['clips', String(clips)], ['shards', `${shards} of ${dtype}`],
    ...sizes('', statistics), ...sizes('target ', targetStatistics),
  ];
  return [`an activation store${targetInfo ? ' of two hook points' : ''}\n${table(lines)}`, { kind: 'activations', ...manifest }];
}
