import { Command } from 'commander';
import { listHooks, locateModel } from '../src/index.ts';
import { modelHelp, withOffline } from './support/audio-options.ts';
import { listeners, openOutput, type OutputOptions, printable, table } from './support/console.ts';

export function hooksCommand(): Command {
  return withOffline(new Command('hooks')
    .summary('List the hook points of a model')
    .description('List the hook points of a model: their names, the tensors behind them, their shapes')
    .argument('<model>', modelHelp))
    .option('--json', 'print one JSON object')
    .action(async (model: string, options: OutputOptions & { offline?: boolean }) => {
      const output = openOutput(options);
      const told = listeners(output);
      const found = await listHooks(await locateModel(model, { offline: options.offline, ...told }), told.onNotice);
      // Exporters name a size that varies, some by the formula of how it follows from the length of the sound.
      const size = (d: number | string): string => (typeof d === 'number' || /^\w{1,16}$/.test(d) ? String(d) : 'frames');
      const written = (shape: readonly (number | string)[]): string => (shape.length > 0 ? `[${shape.map(size).join(', ')}]` : '');
      const rows = found.hooks.map(({ name, tensor, shape, note }) => [name, written(shape), tensor, note ?? '']);
      output.result([
        `${printable(found.name)}: ${found.family ?? 'unknown family'}, opset ${found.opset}, made by ${printable(found.producer || 'an unnamed exporter')}`,
        found.hooks.length > 0 ? table([['hook', 'shape', 'tensor', ''], ...rows]) : 'no hook point could be named',
        'Any other tensor of the graph can be hooked by its own name.',
      ].join('\n'), found);
    });
}
