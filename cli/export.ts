import { Command, Option } from 'commander';
import { CochleaError, exportForms, exportFrames, type ExportOptions, openActivations } from '../src/index.ts';
import { counted, interruptSignal, openOutput, type OutputOptions } from './support/console.ts';
import { wholeNumber } from './support/options.ts';

type Flags = OutputOptions & Required<Pick<ExportOptions, 'to' | 'dtype'>> & { context?: number; pad?: boolean };

export function exportCommand(): Command {
  return new Command('export')
    .summary('Write activations for Python: a dataset, .safetensors or .npy files')
    .description('Write activations for Python: as a dataset that SAELens trains on, or as .safetensors or .npy files')
    .argument('<activations>', 'an activation store (with a second hook point both are written), or anything else that train takes as --activations')
    .argument('<out>', 'folder to write')
    .addOption(new Option('--to <form>', 'a folder of datasets\' save_to_disk, or of .safetensors or .npy files').choices(exportForms).makeOptionMandatory())
    .option('--context <frames>', 'of a dataset: neighbouring frames of one clip per row, which SAELens calls context_size (default: 16)', wholeNumber(1))
    .option('--pad', 'of a dataset: fill a clip\'s last row with zeros, marked by token_ids 0, instead of leaving its frames out')
    .addOption(new Option('--dtype <dtype>', 'how frames are stored').choices(['f32', 'f16']).default('f32'))
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action(async (activations: string, out: string, { to, dtype, context, pad = false, ...flags }: Flags) => {
      if (to !== 'datasets' && (context !== undefined || pad)) throw new CochleaError('usage', `--${pad ? 'pad' : 'context'} is for --to datasets`, 'other files have a frame per row');
      const output = openOutput(flags);
      const signal = interruptSignal();
      const source = await openActivations(activations);
      try {
        const result = await exportFrames(source, out, {
          to, dtype, pad, signal, ...(context !== undefined && { context }),
          onProgress: ({ frames, of }) => output.progress(`${frames}${of === undefined ? '' : ` of ${of}`} frames`),
        });
        const { frames, dropped, padding, notFinite, clips, files } = result;
        output.result([
          `${counted(frames, 'frame')} of ${counted(clips, 'clip')} in ${counted(files.length, 'file')}: ${out}`,
          ...(dropped > 0 ? [`${dropped} frames (${((100 * dropped) / (frames + dropped)).toFixed(1)} %) were left out: they did not fill a row of ${context ?? 16} at their clip's end (--pad keeps them)`] : []),
          ...(padding > 0 ? [`${padding} rows of zeros were added, with token_ids 0: train with exclude_special_tokens=[0]`] : []),
          ...(notFinite > 0 ? [`${notFinite} rows hold NaN or infinity, and were written so: train stops at the first, or leaves them out with --drop-non-finite`] : []),
        ].join('\n'), result);
      } finally {
        await source.close();
      }
    });
}
