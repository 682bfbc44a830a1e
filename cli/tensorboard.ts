import { Command } from 'commander';
import { writeEventFiles } from '../src/index.ts';
import { openOutput, type OutputOptions } from './support/console.ts';

export function tensorboardCommand(): Command {
  return new Command('tensorboard')
    .summary('Write event files for TensorBoard beside the metrics of a run')
    .description('Write event files for TensorBoard beside the metrics of a training run (train --tensorboard does while it trains)')
    .argument('<run>', 'folder of a run, of one SAE or of many')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action(async (run: string, flags: OutputOptions) => {
      const written = await writeEventFiles(run);
      openOutput(flags).result(`${written.join('\n')}\ntensorboard --logdir ${run} shows them`, { files: written });
    });
}
