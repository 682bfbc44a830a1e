import { Command, Option } from 'commander';
import { architectureOf, behaviourMetrics, CochleaError, evaluate, type Evaluation, type Gpu, openActivations, openAudio, recoveryScores, SAE, saeMetrics, scoreBehaviour, type TargetKind } from '../src/index.ts';
import { type AudioFlags, withAudioOptions } from './support/audio-options.ts';
import { describeBehaviour } from './support/behaviour.ts';
import { exactlyOne, fetchLine, interruptSignal, openOutput, type Output, type OutputOptions, table } from './support/console.ts';
import { openGpu } from './support/gpu.ts';
import { wholeNumber } from './support/options.ts';

interface Flags extends OutputOptions, AudioFlags {
  activations?: string;
  behaviour?: boolean;
  targets?: TargetKind;
  language?: string;
  seed: number;
}

export function evalCommand(): Command {
  return withAudioOptions(new Command('eval')
    .description('Score an SAE on frames it was not trained on')
    .argument('<sae>', 'folder of an SAE')
    .option('--activations <path>', 'held-out frames: a store, a .safetensors file with tensor `x` (for a transcoder also `y`), a .npy file, or a folder of such files or of a dataset'))
    .option('--behaviour', 'run the rest of the model on the SAE\'s reconstructions of --audio, and score what it still does')
    .addOption(new Option('--targets <kind>', 'with --behaviour: what its tokens are, the clips\' label `text` or the untouched model\'s own words (text where all clips have one, else own)').choices(['text', 'own']))
    .option('--language <code>', 'with --behaviour, of models that hear several: the language spoken, as in en')
    .option('--seed <n>', 'seed of the bootstrap', wholeNumber(0), 0)
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object, with every latent\'s numbers')
    .addHelpText('after', () => `\nMetrics:\n${defined(saeMetrics)}\n\nMetrics of --behaviour:\n${defined(behaviourMetrics)}\n${defined(recoveryScores)}`
      + '\n\nWith --behaviour the rest of the model is run on the frames as they are, on the SAE\'s reconstructions, on those of the same SAE before its first step, on the mean frame'
      + '\n(of the training frames where the SAE\'s folder has it, else of the evaluated ones) and on zeros. Padding is never replaced or counted. Texts are encoded as they stand: where the model would'
      + '\nwrite capitals and stops and the text has none, its own cross-entropy is high, and a reconstruction may seem to lower it. KL does not depend on that, nor anything with --targets own.'
      + '\n\nFor a transcoder x is the target of a frame: what the frames of its second hook point hold.'
      + '\nModel and hooks default to those that the SAE was trained on.')
    .action(async (folder: string, flags: Flags) => {
      checkFlags(flags);
      exactlyOne(['--activations', flags.activations], ['--audio', flags.audio]);
      const output = openOutput(flags);
      if (flags.behaviour) return evalBehaviour(folder, flags, output);
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

const defined = (metrics: readonly { name: string; unit: string; definition: string }[]): string => metrics.map(({ name, unit, definition }) => `  ${name} (${unit}): ${definition}`).join('\n');

function checkFlags({ behaviour, activations, poolSeconds, targetHook, targets, language }: Flags): void {
  const refuse = (flag: string, why: string): never => {
    throw new CochleaError('usage', `${flag} ${behaviour ? 'and --behaviour exclude each other' : 'is of --behaviour alone'}`, why);
  };
  if (behaviour && activations !== undefined) refuse('--activations', 'the model has to hear the recordings: give --audio');
  if (behaviour && poolSeconds !== undefined) refuse('--pool-seconds', 'pooled rows cannot take the place of frames');
  if (behaviour && targetHook !== undefined) refuse('--target-hook', 'what a transcoder gives cannot take the place of what it was given');
  if (!behaviour && targets !== undefined) refuse('--targets', 'give --behaviour, or leave it away');
  if (!behaviour && language !== undefined) refuse('--language', 'give --behaviour, or leave it away');
}

async function evalBehaviour(folder: string, flags: Flags, output: Output): Promise<void> {
  const signal = interruptSignal();
  const gpu = await openGpu(output);
  try {
    const report = await scoreBehaviour({
      gpu, sae: folder, audio: flags.audio!, signal, seed: flags.seed, model: flags.model, hook: flags.hook, threads: flags.threads, language: flags.language, targets: flags.targets,
      ...(flags.select && { select: flags.select }), ...(flags.take === undefined ? {} : { take: flags.take }), ...(flags.strict === undefined ? {} : { strict: flags.strict }),
      onNotice: (line) => output.notice(line),
      onProgress: ({ pass, clip, clips }) => output.progress(pass === 'survey' ? `listening: clip ${clip} of ${clips}` : `the rest of the model: clip ${clip} of ${clips}`),
    });
    output.result(describeBehaviour(report), report);
  } finally {
    gpu.dispose();
  }
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
    ...flags, gpu, onFetch: (progress) => output.progress(fetchLine(progress)), audio: flags.audio!, model: trainedOn('--model', flags.model, 'model_name'), hook: trainedOn('--hook', flags.hook, 'hook_name'),
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
