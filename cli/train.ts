import { relative } from 'node:path';
import { Command } from 'commander';
import { architectureOf, CochleaError, type Gpu, type ManyResult, type MemoryPlan, openActivations, openAudio, planLine, planRun, planTable, type RunResult, type StepMetrics, trainMany, trainRun } from '../src/index.ts';
import { withArchitectureOptions } from './support/architecture-options.ts';
import { type AudioFlags, refuseRecordingFlags, withAudioOptions } from './support/audio-options.ts';
import { counted, duration, exactlyOne, interruptSignal, listeners, openOutput, type Output, type OutputOptions, table } from './support/console.ts';
import { openGpu, pinVariants, withVariantOption } from './support/gpu.ts';
import { isGiven, nonNegativeNumber, positiveNumber, requireOptions, wholeNumber } from './support/options.ts';
import { applyRecipe, countSteps, recipeNotices, recipeRecord } from './support/recipe.ts';
import { checkFlags, manySaes, type NamedFlags, oneSae, type RunSize, sizedSaes, type TrainingFlags, withTrainingOptions } from './support/training-options.ts';
import { version } from './support/version.ts';

interface Flags extends OutputOptions, AudioFlags, TrainingFlags, RunSize {
  activations?: string;
  saes?: string;
  recipe?: string;
  epochs?: number;
  kernelVariant?: string[];
  mixingBuffer: number;
  shuffle: boolean;
  pairs?: boolean;
  dropNonFinite?: boolean;
  checkpointEvery: number;
  checkpointMinutes: number;
  logEvery: number;
  tensorboard?: boolean;
  out: string;
  resume?: boolean;
  plan?: boolean;
}

export function trainCommand(): Command {
  const command = withAudioOptions(new Command('train')
    .summary('Train an SAE, or many at once, on stored activations or on recordings')
    .description('Train a sparse autoencoder, or many at once, on stored activations, or straight from recordings')
    .option('--activations <path>', 'a store of `cochlea extract`, a .safetensors file with tensor `x` [rows, d_in] (for transcoders also `y` [rows, d_out]), a .npy file, a folder of such files, or a dataset folder (save_to_disk) as SAELens caches activations'))
    .option('--out <folder>', 'folder for the SAE, its metrics and its checkpoints')
    .option('--saes <file>', 'JSON list of SAEs that train side by side on the same batches: each has a "name" (its folder in --out) and any flags of its own')
    .option('--recipe <name>', 'one of `cochlea recipes`: what is not given otherwise is set as a paper has it');
  withVariantOption(withTrainingOptions(withArchitectureOptions(command)))
    .option('--batch-size <rows>', 'frames per step', wholeNumber(1), 4096)
    .option('--steps <n>', 'steps', wholeNumber(1), 1000)
    .option('--epochs <n>', 'instead of --steps: as many frames as so often all rows of --activations (of which --pairs leaves out those that begin a clip)', positiveNumber)
    .option('--mixing-buffer <frames>', 'frames that are mixed with each other', wholeNumber(1), 65_536)
    .option('--no-shuffle', 'take frames in stored order')
    .option('--pairs', 'leave out frames that have none before them, as temporal architectures do, so that others see the same batches')
    .option('--drop-non-finite', 'leave out frames with NaN or infinity and count them, instead of stopping')
    .option('--checkpoint-every <steps>', 'steps between checkpoints, 0 for none', wholeNumber(0), 0)
    .option('--checkpoint-minutes <n>', 'minutes between checkpoints, 0 for none', nonNegativeNumber, 10)
    .option('--log-every <steps>', 'steps between lines of metrics.jsonl', wholeNumber(1), 10)
    .option('--tensorboard', 'write an event file of TensorBoard beside each metrics.jsonl')
    .option('--resume', 'go on from the newest checkpoint in --out, from the start where there is none')
    .option('--plan', 'print what the run would take of the memory, tensor by tensor, and stop')
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action((flags: Flags, self: Command) => train(flags, self));
  return requireOptions(command, '--out').hook('preAction', () => applyRecipe(command));
}

async function train(flags: Flags, command: Command): Promise<void> {
  exactlyOne(['--activations', flags.activations], ['--audio', flags.audio]);
  if (flags.activations !== undefined && isGiven(command, 'poolSeconds')) throw new CochleaError('usage', '--pool-seconds is for recordings', 'stored frames are pooled when `cochlea extract --pool-seconds` makes them');
  if (flags.activations !== undefined && relative(flags.activations, flags.out) === '') throw new CochleaError('usage', `--out ${flags.out} is where the activations are`, 'choose another --out');
  const listed = (): NamedFlags[] | undefined => (flags.saes === undefined ? undefined : manySaes(command, flags, flags.saes));
  const many = listed();
  if (!many) checkFlags(command, flags);
  const output = openOutput(flags);
  const signal = interruptSignal();
  const shared = flags.audio !== undefined && flags.backend === 'gpu' ? await openGpu(output) : undefined;
  const { source, skipped, close } = await openSource(command, flags, many, output, signal, shared).catch((error: unknown) => {
    shared?.dispose();
    throw error;
  });
  try {
    recipeNotices(command, flags.activations, source.info).forEach((line) => output.notice(line));
    countSteps(command, source.rows);
    const recipe = recipeRecord(command);
    const one = many ? undefined : oneSae(command, flags, source.dIn);
    const saes = many && sizedSaes(listed()!, source.dIn);
    const gpu = shared ?? await openGpu(output);
    try {
      pinVariants(gpu, flags.kernelVariant);
      const stream = {
        gpu, source, out: flags.out, bufferRows: Math.max(flags.mixingBuffer, flags.batchSize), shuffle: flags.shuffle, pairs: flags.pairs ?? false,
        dropNonFinite: flags.dropNonFinite ?? false, checkpointEvery: flags.checkpointEvery, checkpointMinutes: flags.checkpointMinutes, logEvery: flags.logEvery, tensorboard: flags.tensorboard ?? false,
        resume: flags.resume ?? false, signal, onNotice: (line: string) => output.notice(line), onPlan: (plan: MemoryPlan) => (flags.verbose ? table(planTable(plan)).split('\n') : [planLine(plan)]).forEach((line) => output.notice(line)),
        record: { cochlea: version(), command: 'train', flags: JSON.parse(JSON.stringify(flags)), ...(recipe && { recipe: JSON.parse(JSON.stringify(recipe)) }) },
      };
      if (flags.plan) {
        const plan = planRun(saes ? { ...stream, saes, mixingSeed: flags.seed } : { ...stream, ...one! });
        output.result(table(planTable(plan)), plan);
        return;
      }
      const [line, result] = saes ? await runMany(stream, saes, flags.seed, output) : await runOne(stream, one!, output);
      const { dropped, recoveries } = result;
      const survived = recoveries > 0 ? `the GPU was lost or ran out of memory, and the run went on, ${recoveries === 1 ? 'once' : `${recoveries} times`}` : '';
      const lost = [survived, dropped > 0 ? dropped === 1 ? '1 frame that was not finite was left out' : `${dropped} frames that were not finite were left out` : '', skipped().length > 0 ? `${counted(skipped().length, 'recording')} ${skipped().length === 1 ? 'was' : 'were'} skipped, each named above` : ''];
      output.result([line, ...lost.filter((part) => part !== '')].join('\n'), { ...result, d_in: source.dIn, skipped: skipped() });
    } finally {
      if (gpu !== shared) gpu.dispose();
    }
  } finally {
    await close();
    shared?.dispose(); // the encoder is on it
  }
}

type Stream = Omit<Parameters<typeof trainMany>[0], 'saes' | 'mixingSeed' | 'onProgress'> & { gpu: Gpu };

async function runOne(stream: Stream, sae: ReturnType<typeof oneSae>, output: Output): Promise<[string, RunResult & { d_sae: number }]> {
  const result = await trainRun({
    ...stream, ...sae,
    onProgress: ({ metrics, steps, framesPerSecond, secondsLeft, epoch, recoveries }) => output.progress(
      `step ${metrics.step}/${steps}  ${brief(metrics)}  ${Math.round(framesPerSecond)} frames/s  epoch ${epoch + 1}  ${duration(secondsLeft)} left${recovered(recoveries)}`),
  });
  const { out, final, steps, trained } = result;
  const line = trained === 0 ? `${out} was finished already, after ${counted(steps, 'step')}` : `${out}: step ${steps}, ${described(final)} (${pace(result)})`;
  return [line, { ...result, d_sae: sae.sae.d_sae }];
}

async function runMany(stream: Stream, saes: ReturnType<typeof sizedSaes>, mixingSeed: number, output: Output): Promise<[string, ManyResult]> {
  const result = await trainMany({
    ...stream, saes, mixingSeed,
    onProgress: ({ saes: all, steps, framesPerSecond, secondsLeft, epoch, recoveries }) => output.progress(
      `step ${all[0]!.metrics.step}/${steps}  ${all.map(({ name, metrics }) => `${name} EV ${metrics.explainedVariance.toFixed(3)} L0 ${metrics.l0.toFixed(1)}`).join('  ')}`
      + `  ${Math.round(framesPerSecond)} frames/s  epoch ${epoch + 1}  ${duration(secondsLeft)} left${recovered(recoveries)}`),
  });
  if (result.trained === 0) return [`${result.out} was finished already, after ${counted(result.steps, 'step')}`, result];
  return [[...result.saes.map(({ out, final }) => `${out}: ${described(final)}`), `${counted(saes.length, 'SAE')}, ${pace(result)}`].join('\n'), result];
}

const recovered = (recoveries: number): string => (recoveries > 0 ? `  ${recoveries} recoveries` : '');

const brief = ({ overallLoss, explainedVariance, l0, dead }: StepMetrics): string => `loss ${overallLoss.toFixed(3)}  EV ${explainedVariance.toFixed(4)}  L0 ${l0.toFixed(1)}  dead ${dead}`;

const described = ({ explainedVariance, l0, dead }: StepMetrics): string => `explained variance ${explainedVariance.toFixed(4)} on the last batch, L0 ${l0.toFixed(1)}, ${dead} dead latents`;

const pace = ({ trained, seconds, framesPerSecond }: Pick<RunResult, 'trained' | 'seconds' | 'framesPerSecond'>): string =>
  `${counted(trained, 'step')} in ${duration(seconds)}, ${Math.round(framesPerSecond)} frames/s`;

/** The frames, with targets where an SAE needs them. */
async function openSource(command: Command, flags: Flags, many: readonly NamedFlags[] | undefined, output: Output, signal: AbortSignal, gpu: Gpu | undefined) {
  const transcoder = (many?.map((sae) => sae.flags.arch) ?? [flags.arch]).find((arch) => architectureOf(arch).needs === 'targets');
  if (flags.targetHook !== undefined && transcoder === undefined) throw new CochleaError('usage', 'no SAE of this run has targets', 'leave --target-hook away, or train a transcoder by --arch');
  if (flags.activations !== undefined) {
    refuseRecordingFlags(command);
    const source = await openActivations(flags.activations, { target: transcoder !== undefined });
    return { source, skipped: (): readonly string[] => [], close: () => source.close() };
  }
  const { audio, model, hook, targetHook } = flags;
  if (model === undefined || hook === undefined) throw new CochleaError('usage', `--audio needs ${model === undefined ? '--model' : '--hook'}`, 'see `cochlea models` and `cochlea hooks MODEL`');
  if (transcoder !== undefined && targetHook === undefined) throw new CochleaError('usage', `a ${transcoder} needs --target-hook`, 'it learns to make the frames there of those at --hook');
  const opened = await openAudio({
    ...flags, ...listeners(output), audio: audio!, model, hook, gpu, signal, onEncoder: (line) => output.notice(line),
  });
  return { source: opened.source(), skipped: () => opened.skipped, close: () => opened.close() };
}
