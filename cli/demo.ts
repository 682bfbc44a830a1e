import { join, relative, resolve } from 'node:path';
import process from 'node:process';
import { Command } from 'commander';
import { runDemo } from '../src/index.ts';
import { duration, interruptSignal, openOutput, type OutputOptions } from './support/console.ts';
import { openGpu } from './support/gpu.ts';
import { packageFolder, version } from './support/version.ts';

export function demoCommand(): Command {
  return new Command('demo')
    .summary('Go the whole way on speech that comes along: activations, an SAE, scores, a page to listen to')
    .description('The whole way in some three minutes: recordings, activations, a trained SAE, scores, and a page to listen to')
    .option('--out <folder>', 'folder for everything it makes', 'cochlea-demo')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action(async (flags: OutputOptions & { out: string }) => {
      const output = openOutput(flags);
      const signal = interruptSignal();
      const gpu = await openGpu(output);
      try {
        const result = await runDemo({
          gpu, audio: join(packageFolder(), 'demo', 'audio'), out: flags.out, version: version(), signal,
          onStage: (line) => output.notice(line),
          onExtract: ({ clips, clipsDone, frames, speed }) => output.progress(`  clip ${clipsDone} of ${clips}   ${frames} frames   ${speed.toFixed(1)} x real time`),
          onTrain: ({ metrics, steps, framesPerSecond, secondsLeft }) => output.progress(
            `  step ${metrics.step}/${steps}   explained variance ${metrics.explainedVariance.toFixed(3)}   ${Math.round(framesPerSecond)} frames/s   ${duration(secondsLeft)} left`),
        });
        const { metrics, intervals, frames, clips } = result.evaluation;
        const show = (path: string): string => relative(process.cwd(), resolve(path)) || '.';
        const range = intervals.explained_variance;
        output.result([
          '',
          `explained variance ${metrics.explained_variance.value?.toFixed(4)} on ${frames} held-out frames of ${clips} recordings`
            + (range.low === null ? '' : ` (95 % interval ${range.low.toFixed(3)} to ${range.high.toFixed(3)})`) + `, L0 ${metrics.l0.value?.toFixed(1)}, in ${duration(result.seconds)}`,
          `listen:   ${show(result.report)}   (open it in a browser)`,
          `the SAE:  ${show(result.sae)}   (SAELens: SAE.load_from_disk("${show(result.sae)}"))`,
          '',
          'The same on your own recordings and model:',
          '  cochlea hooks MODEL.onnx',
          '  cochlea train --audio FOLDER --model MODEL.onnx --hook encoder.layers.3 --out my-sae',
        ].join('\n'), { ...result, evaluation: { frames, clips, metrics, intervals } });
      } finally {
        gpu.dispose();
      }
    });
}
