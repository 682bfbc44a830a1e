import { Command } from 'commander';
import { architectureOf, CochleaError, evaluate, type Evaluation, type Gpu, openActivations, openAudio, SAE, saeMetrics } from '../src/index.ts';
import { type AudioFlags, withAudioOptions } from './support/audio-options.ts';
import { exactlyOne, openOutput, type Output, type OutputOptions, table } from './support/console.ts';
import { openGpu } from './support/gpu.ts';
import { wholeNumber } from './support/options.ts';

interface Flags extends OutputOptions, AudioFlags {
  activations?: string;
  seed: number;
}

export function evalCommand(): Command {
  return withAudioOptions(new Command('eval')
    .description('Score an SAE on frames it was not trained on')
    .argument('<sae>', 'folder of an SAE')
    .option('--activations <path>', 'held-out frames: a store, a .safetensors file with tensor `x` (for a transcoder also `y`), a .npy file, or a folder of such files or of a dataset'))
    .option('--seed <n>', 'seed of the bootstrap', wholeNumber(0), 0)
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object, with every latent\'s numbers')
    .addHelpText('after', () => `\nMetrics:\n${saeMetrics.map(({ name, unit, definition }) => `  ${name} (${unit}): ${definition}`).join('\n')}`
      + '\n\nFor a transcoder x is the target of a frame: what the frames of its second hook point hold.'
      + '\nModel and hooks default to those that the SAE was trained on.')
    .action(async (folder: string, flags: Flags) => {
      exactlyOne(['--activations', flags.activations], ['--audio', flags.audio]);
      const output = openOutput(flags);
      const gpu = await openGpu(output);
      try {
        const sae = await SAE.load(gpu, folder);
        const target = architectureOf(sae.config.architecture).needs === 'targets';
        if (flags.targetHook !== undefined && !target) throw new CochleaError('usage', `${folder} is no transcoder: it has no --target-hook`, 'leave --target-hook away');
        const { chunks, close } = await openFrames(gpu, sae, target, flags, output);
        try {
          const evaluation = await evaluate(sae, chunks, { seed: flags.seed, target });
          output.result(describe(evaluation), evaluation);
        } finally {
          await close();
        }
      } finally {
        gpu.dispose();
      }
    });
}

async function openFrames(gpu: Gpu, sae: SAE, target: boolean, flags: Flags, output: Output) {
  if (flags.activations !== undefined) {
    const source = await openActivations(flags.activations, { target });
    return { chunks: source.chunks({ seed: 0, epoch: undefined, from: 0 }), close: () => source.close() };
  }
  const trainedOn = (flag: '--model' | '--hook' | '--target-hook', given: string | undefined, key: string): string => {
    const known = given ?? sae.config.metadata[key];
    if (typeof known !== 'string' || known === '') throw new CochleaError('usage', `the SAE does not say which ${flag.slice(2).replace('-', ' ')} it was trained on`, `give ${flag}`);
    return known;
  };
  const audio = await openAudio({
    ...flags, gpu, audio: flags.audio!, model: trainedOn('--model', flags.model, 'model_name'), hook: trainedOn('--hook', flags.hook, 'hook_name'),
    ...(target && { targetHook: trainedOn('--target-hook', flags.targetHook, 'hook_name_out') }),
    onNotice: (line) => output.notice(line), onEncoder: (line) => output.notice(line),
  });
  const trained = sae.config.metadata['frame_rate'];
  if (typeof trained === 'number' && trained !== audio.info.frameRate) {
    output.notice(`the SAE was trained on ${trained} rows a second, and these are ${audio.info.frameRate}: give the --pool-seconds that its frames were made with`);
  }
  return { chunks: audio.source().chunks({ seed: 0, epoch: undefined, from: 0 }), close: () => audio.close() };
}

function describe({ frames, clips, metrics, intervals }: Evaluation): string {
  const rows = saeMetrics.map(({ name, unit }) => {
    const metric = metrics[name];
    const interval = name === 'explained_variance' || name === 'l0' ? intervals[name] : undefined;
    const range = interval && interval.low !== null ? `95 % interval ${interval.low.toFixed(4)} to ${interval.high.toFixed(4)}` : '';
    return [name, metric.value === null ? '-' : Number(metric.value.toPrecision(6)).toString(), unit, metric.value === null ? metric.reason : range];
  });
  return [`${frames} frames of ${clips} clips`, table(rows), '--help says what each of these means.'].join('\n');
}
