import { Command, Option } from 'commander';
import { architectureOf, behaviourMetrics, checkFrames, CochleaError, evaluate, type Evaluation, type Gpu, openActivations, openAudio, recoveryScores, SAE, saeMetrics, scoreBehaviour, type TargetKind, trainedOn, trainedToward } from '../src/index.ts';
import { type AudioFlags, refuseRecordingFlags, withAudioOptions } from './support/audio-options.ts';
import { describeBehaviour } from './support/behaviour.ts';
import { counted, exactlyOne, interruptSignal, listeners, openOutput, type Output, type OutputOptions, table } from './support/console.ts';
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
    .summary('Score an SAE on held-out frames, or by what the model still does with its reconstructions')
    .description('Score an SAE on frames it was not trained on')
    .argument('<sae>', 'folder of an SAE')
    .option('--activations <path>', 'held-out frames: a store, a .safetensors file with tensor `x` (for a transcoder also `y`), a .npy file, or a folder of such files or of a dataset'))
    .option('--behaviour', 'run the rest of the model on the SAE\'s reconstructions of --audio, and score what it still does')
    .addOption(new Option('--targets <kind>', 'with --behaviour: what its tokens are, the clips\' label `text` or the untouched model\'s own words (text where all clips have one, else own)').choices(['text', 'own']))
    .option('--language <code>', 'with --behaviour, of a multilingual Whisper: the language spoken, as in en (else the model finds it)')
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
    .action(async (folder: string, flags: Flags, command: Command) => {
      checkFlags(flags);
      if (flags.activations !== undefined) refuseRecordingFlags(command);
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

function checkFlags({ behaviour, activations, audio, poolSeconds, targetHook, backend, workers, targets, language }: Flags): void {
  const refuse = (flag: string, why: string): never => {
    throw new CochleaError('usage', `${flag} ${behaviour ? 'and --behaviour exclude each other' : 'is of --behaviour alone'}`, why);
  };
  if (behaviour && activations !== undefined) refuse('--activations', 'the model has to hear the recordings: give --audio');
  if (behaviour && poolSeconds !== undefined) refuse('--pool-seconds', 'pooled rows cannot take the place of frames');
  if (behaviour && targetHook !== undefined) refuse('--target-hook', 'what a transcoder gives cannot take the place of what it was given');
  if (behaviour && workers !== undefined) refuse('--workers', 'the two parts of the model run in one session each: --threads says how many threads they have');
  if (behaviour && (backend === 'native' || backend === 'gpu')) refuse(`--backend ${backend}`, 'the two parts of the model run in the wasm build of ONNX Runtime, where they give the bits of the whole');
  if (behaviour && audio === undefined) throw new CochleaError('usage', '--behaviour needs --audio', 'the model has to hear recordings');
  if (!behaviour) exactlyOne(['--activations', activations], ['--audio', audio]);
  if (!behaviour && targets !== undefined) refuse('--targets', 'give --behaviour, or leave it away');
  if (!behaviour && language !== undefined) refuse('--language', 'give --behaviour, or leave it away');
}

async function evalBehaviour(folder: string, flags: Flags, output: Output): Promise<void> {
  const signal = interruptSignal();
  const gpu = await openGpu(output);
  try {
    const report = await scoreBehaviour({
      ...flags, ...listeners(output), gpu, sae: folder, audio: flags.audio!, signal,
      onProgress: ({ pass, clip, clips }) => output.progress(pass === 'survey' ? `listening: clip ${clip} of ${clips}` : `the rest of the model: clip ${clip} of ${clips}`),
    });
    output.result(describeBehaviour(report), report);
  } finally {
    gpu.dispose();
  }
}

async function openFrames(gpu: Gpu, sae: SAE, target: boolean, flags: Flags, output: Output) {
  const { onNotice, onFetch } = listeners(output);
  if (flags.activations !== undefined) {
    const source = await openActivations(flags.activations, { target });
    // Files that say nothing of a model have the name of the file for a hook point.
    if (source.info.modelSha256 !== '') checkFrames(sae, source.info, onNotice);
    return { chunks: source.chunks({ seed: 0, epoch: undefined, from: 0 }), close: () => source.close() };
  }
  const audio = await openAudio({
    ...flags, ...trainedOn(sae, flags), ...(target && { targetHook: trainedToward(sae, flags.targetHook) }), gpu, audio: flags.audio!, onNotice, onFetch, onEncoder: onNotice,
  });
  try {
    checkFrames(sae, audio.info, onNotice);
  } catch (error) {
    await audio.close();
    throw error;
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
  return [`${counted(frames, 'frame')} of ${counted(clips, 'clip')}`, table(rows), '--help says what each of these means.'].join('\n');
}
