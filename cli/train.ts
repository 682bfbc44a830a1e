import { Command, Option } from 'commander';
import { architectureOf, CochleaError, openActivations, openAudio, type RunResult, saeConfig, trainRun, trainerConfig } from '../src/index.ts';
import { architectureFields, withArchitectureOptions } from './support/architecture-options.ts';
import { type AudioFlags, withAudioOptions } from './support/audio-options.ts';
import { duration, exactlyOne, interruptSignal, openOutput, type Output, type OutputOptions } from './support/console.ts';
import { openGpu } from './support/gpu.ts';
import { nonNegativeNumber, positiveNumber, requireOptions, wholeNumber } from './support/options.ts';
import { version } from './support/version.ts';

interface Flags extends OutputOptions, AudioFlags {
  activations?: string;
  arch: string;
  dSae?: number;
  expansion?: number;
  batchSize: number;
  steps: number;
  lr: number;
  lrEnd?: number;
  lrScheduler: 'constant' | 'cosineannealing' | 'cosineannealingwarmrestarts';
  lrWarmUpSteps: number;
  lrDecaySteps: number;
  nRestartCycles: number;
  seed: number;
  deadFeatureWindow: number;
  featureSamplingWindow: number;
  centre: boolean;
  mixingBuffer: number;
  shuffle: boolean;
  dropNonFinite?: boolean;
  compatibility: 'corrected' | 'saelens-6.18';
  checkpointEvery: number;
  checkpointMinutes: number;
  logEvery: number;
  out: string;
  resume?: boolean;
}

export function trainCommand(): Command {
  const command = withAudioOptions(new Command('train')
    .description('Train a sparse autoencoder on stored activations, or straight from recordings')
    .option('--activations <path>', 'a store of `cochlea extract`, or a .safetensors file with tensor `x` [rows, d_in], or a .npy file'))
    .option('--out <folder>', 'folder for the SAE, its metrics and its checkpoints')
    .option('--d-sae <n>', 'number of latents', wholeNumber(1))
    .option('--expansion <factor>', 'number of latents as a multiple of d_in (8 unless --d-sae is given)', positiveNumber)
    .option('--batch-size <rows>', 'frames per step', wholeNumber(1), 4096)
    .option('--steps <n>', 'steps', wholeNumber(1), 1000)
    .option('--lr <rate>', 'learning rate of Adam', positiveNumber, 3e-4)
    .option('--lr-end <rate>', 'where cosine schedules end (lr / 10)', nonNegativeNumber)
    .addOption(new Option('--lr-scheduler <name>', 'schedule between warm-up and decay').choices(['constant', 'cosineannealing', 'cosineannealingwarmrestarts']).default('constant'))
    .option('--lr-warm-up-steps <n>', 'steps of linear warm-up', wholeNumber(0), 0)
    .option('--lr-decay-steps <n>', 'steps of linear decay at the end', wholeNumber(0), 0)
    .option('--n-restart-cycles <n>', 'cycles of cosineannealingwarmrestarts', wholeNumber(1), 1)
    .option('--seed <n>', 'seed of initialisation and mixing', wholeNumber(0), 42)
    .option('--dead-feature-window <steps>', 'a latent silent for more steps than this is dead', wholeNumber(1), 1000)
    .option('--feature-sampling-window <steps>', 'steps over which firing frequencies are counted', wholeNumber(1), 2000)
    .option('--no-centre', 'do not subtract the mean frame')
    .option('--mixing-buffer <frames>', 'frames that are mixed with each other', wholeNumber(1), 65_536)
    .option('--no-shuffle', 'take frames in stored order')
    .option('--drop-non-finite', 'leave out frames with NaN or infinity and count them, instead of stopping')
    .addOption(new Option('--compatibility <mode>', 'corrected mathematics, or exactly those of SAELens 6.18').choices(['corrected', 'saelens-6.18']).default('corrected'))
    .option('--checkpoint-every <steps>', 'steps between checkpoints, 0 for none', wholeNumber(0), 0)
    .option('--checkpoint-minutes <n>', 'minutes between checkpoints, 0 for none', nonNegativeNumber, 10)
    .option('--log-every <steps>', 'steps between lines of metrics.jsonl', wholeNumber(1), 10)
    .option('--resume', 'go on from the newest checkpoint in --out')
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action((flags: Flags, self: Command) => train(flags, self));
  return requireOptions(withArchitectureOptions(command), '--out');
}

async function train(flags: Flags, command: Command): Promise<void> {
  exactlyOne(['--activations', flags.activations], ['--audio', flags.audio]);
  if (flags.dSae !== undefined && flags.expansion !== undefined) throw new CochleaError('usage', '--d-sae and --expansion exclude each other', 'give one of them');
  architectureFields(command, flags.arch); // refuses what does not go together before any file is read
  const output = openOutput(flags);
  const signal = interruptSignal();
  const { source, skipped, close } = await openSource(flags, output);
  try {
    const dSae = flags.dSae ?? Math.round((flags.expansion ?? 8) * source.dIn);
    const sae = saeConfig({ ...architectureFields(command, flags.arch), architecture: flags.arch, d_in: source.dIn, d_sae: dSae });
    const training = trainerConfig({
      train_batch_size_samples: flags.batchSize, total_training_samples: flags.steps * flags.batchSize, lr: flags.lr, lr_scheduler_name: flags.lrScheduler,
      lr_warm_up_steps: flags.lrWarmUpSteps, lr_decay_steps: flags.lrDecaySteps, n_restart_cycles: flags.nRestartCycles,
      dead_feature_window: flags.deadFeatureWindow, feature_sampling_window: flags.featureSamplingWindow, seed: flags.seed,
      ...(flags.lrEnd === undefined ? {} : { lr_end: flags.lrEnd }),
    });
    const gpu = await openGpu(output);
    try {
      const result = await trainRun({
        gpu, source, out: flags.out, sae, training, centre: flags.centre && !['constant_norm_rescale', 'layer_norm'].includes(sae.normalize_activations),
        bufferRows: Math.max(flags.mixingBuffer, flags.batchSize), shuffle: flags.shuffle, dropNonFinite: flags.dropNonFinite ?? false, compatibility: flags.compatibility,
        checkpointEvery: flags.checkpointEvery, checkpointMinutes: flags.checkpointMinutes, logEvery: flags.logEvery, resume: flags.resume ?? false, signal,
        record: { cochlea: version(), command: 'train', flags: JSON.parse(JSON.stringify(flags)) },
        onNotice: (line) => output.notice(line),
        onProgress: ({ metrics, steps, framesPerSecond, secondsLeft, epoch }) => output.progress(
          `step ${metrics.step}/${steps}  loss ${metrics.overallLoss.toFixed(3)}  EV ${metrics.explainedVariance.toFixed(4)}  L0 ${metrics.l0.toFixed(1)}  dead ${metrics.dead}`
          + `  ${Math.round(framesPerSecond)} frames/s  epoch ${epoch + 1}  ${duration(secondsLeft)} left`),
      });
      const lost = [result.dropped > 0 ? `${result.dropped} frames that were not finite were left out` : '', skipped().length > 0 ? `${skipped().length} recordings were skipped, each named above` : ''];
      output.result([describe(result), ...lost.filter((line) => line !== '')].join('\n'), { ...result, d_in: source.dIn, d_sae: dSae, skipped: skipped() });
    } finally {
      gpu.dispose();
    }
  } finally {
    await close();
  }
}

async function openSource(flags: Flags, output: Output) {
  if (flags.activations !== undefined) {
    const source = await openActivations(flags.activations, { target: architectureOf(flags.arch).needs === 'targets' });
    return { source, skipped: (): readonly string[] => [], close: () => source.close() };
  }
  const { audio, model, hook } = flags;
  if (model === undefined || hook === undefined) throw new CochleaError('usage', `--audio needs ${model === undefined ? '--model' : '--hook'}`, 'see `cochlea models` and `cochlea hooks MODEL`');
  const opened = await openAudio({ ...flags, audio: audio!, model, hook, onNotice: (line) => output.notice(line) });
  return { source: opened.source(), skipped: () => opened.skipped, close: () => opened.close() };
}

function describe({ out, final, steps, trained, seconds, framesPerSecond }: RunResult): string {
  if (trained === 0) return `${out} was finished already, after ${steps} steps`;
  return `${out}: step ${steps}, explained variance ${final.explainedVariance.toFixed(4)} on the last batch, L0 ${final.l0.toFixed(1)}, ${final.dead} dead latents`
    + ` (${trained} steps in ${duration(seconds)}, ${Math.round(framesPerSecond)} frames/s)`;
}
