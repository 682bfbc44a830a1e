import { Command, Option } from 'commander';
import { extractActivations, type FrameStatistics } from '../src/index.ts';
import { type AudioFlags, withAudioOptions } from './support/audio-options.ts';
import { counted, duration, interruptSignal, listeners, openOutput, type OutputOptions } from './support/console.ts';
import { openGpu } from './support/gpu.ts';
import { requireOptions } from './support/options.ts';

type Flags = OutputOptions & Required<Pick<AudioFlags, 'audio' | 'model' | 'hook'>> & AudioFlags & { out: string; dtype: 'f32' | 'f16'; resume?: boolean };

export function extractCommand(): Command {
  const command = withAudioOptions(new Command('extract')
    .summary('Store the activations of recordings at a hook point, or two')
    .description('Run recordings through a model up to a hook point, or two, and store the activations'))
    .option('--out <folder>', 'folder of the activation store')
    .addOption(new Option('--dtype <dtype>', 'how frames are stored').choices(['f32', 'f16']).default('f32'))
    .option('--resume', 'go on with a store that was interrupted')
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action(async (flags: Flags) => {
      const output = openOutput(flags);
      const { config: _, quiet: _quiet, json: _json, ...options } = flags as Flags & { config?: string };
      const gpu = flags.backend === 'gpu' ? await openGpu(output) : undefined;
      const result = await extractActivations({
        ...options, ...listeners(output), gpu, signal: interruptSignal(), onEncoder: (line) => output.notice(line),
        onProgress: ({ clips, clipsDone, frames, seconds, speed, secondsLeft }) => {
          output.progress(`clip ${clipsDone} of ${clips}   ${frames} frames   ${duration(seconds)} of sound at ${speed.toFixed(1)} x real time   ${duration(secondsLeft)} left`);
        },
      }).finally(() => gpu?.dispose());
      const { clips, frames, seconds, elapsed, skipped, statistics, targetStatistics } = result;
      output.result([
        `${counted(frames, 'frame')} of ${counted(clips, 'clip')} in ${result.out} (${duration(seconds)} of sound in ${duration(elapsed)})`,
        ...(statistics ? [sizes(statistics)] : []),
        ...(targetStatistics ? [`targets: ${sizes(targetStatistics)}`] : []),
        ...(skipped.length > 0 ? [`${skipped.length} skipped, each named above`] : []),
      ].join('\n'), result);
    });
  return requireOptions(command, '--audio', '--model', '--hook', '--out');
}

function sizes({ meanNorm, gamma }: FrameStatistics): string {
  return `mean norm ${meanNorm.toFixed(2)}, gamma = |mean| / spread = ${gamma.toFixed(2)}`;
}
