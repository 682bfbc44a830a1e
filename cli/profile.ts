import { Command } from 'commander';
import { type BackendName, CochleaError, Gpu, locateModel, openActivations, runtime } from '../src/index.ts';
import { Profiler } from '../src/gpu/index.ts';
import { ensureAdapter } from '../src/runtime/adapters.ts';
import { compareProfiles, encodeWork, type GpuProfile, measure, profileExtraction, readProfile, roofline, type Timeline, traceOf, trainingWork } from '../src/profile/index.ts';
import { withArchitectureOptions } from './support/architecture-options.ts';
import { audioHelp, backendOption, modelHelp, withOffline } from './support/audio-options.ts';
import { listeners, openOutput, type Output, type OutputOptions } from './support/console.ts';
import { pinVariants, withVariantOption } from './support/gpu.ts';
import { isGiven, wholeNumber } from './support/options.ts';
import { describeComparison, describeExtraction, describeProfile } from './support/profile-text.ts';
import { checkFlags, oneSae, type TrainingFlags, withTrainingOptions } from './support/training-options.ts';
import { version } from './support/version.ts';

interface Flags extends OutputOptions, TrainingFlags {
  kernelVariant?: string[];
  dIn?: number;
  batchSize: number;
  steps: number;
  warmUp: number;
  activations?: string;
  sae?: string;
  model?: string;
  offline?: boolean;
  hook?: string;
  audio?: string[];
  take?: number;
  threads?: number;
  backend?: BackendName;
  wall?: boolean;
  trace?: string;
  roofline?: string;
  against?: string;
}

export function profileCommand(): Command {
  const command = withOffline(new Command('profile')
    .summary('Show where the time goes: in training, encoding or extraction')
    .description('Show where the time goes: of training (on made-up frames unless told), of encoding with --sae, of extraction with --model')
    .option('--d-in <n>', 'numbers of a made-up frame', wholeNumber(1))
    .option('--activations <path>', 'train on these frames instead: as for `train`')
    .option('--sae <folder>', 'profile this SAE encoding and reconstructing frames')
    .option('--model <model>', `profile extraction by this model, with --hook and --audio: ${modelHelp}`)
    .option('--hook <hook>', 'with --model: a name of `cochlea hooks MODEL`, or a tensor of the graph')
    .option('--audio <path...>', `with --model: ${audioHelp}`))
    .option('--take <n>', 'only so many clips, spread evenly', wholeNumber(1))
    .option('--threads <n>', 'threads of the model (default: one per processor, at most 4)', wholeNumber(1))
    .addOption(backendOption(['auto', 'wasm', 'native']));
  return withVariantOption(withTrainingOptions(withArchitectureOptions(command)))
    .option('--batch-size <rows>', 'frames per step', wholeNumber(1), 4096)
    .option('--steps <n>', 'measured steps, once as they are and once watched', wholeNumber(1), 30)
    .option('--warm-up <n>', 'steps before them', wholeNumber(1), 3)
    .option('--wall', 'time by the host\'s clock, one dispatch at a time, though the adapter has timestamps')
    .option('--trace <file>', 'write a timeline of the watched steps, for https://ui.perfetto.dev')
    .option('--roofline <file>', 'draw kernels under the adapter\'s roofline, as SVG')
    .option('--against <file>', 'compare with what --json printed before: which kernels changed by more than noise')
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the profile as one JSON object')
    .action((flags: Flags, self: Command) => profile(flags, self));
}

/** Flags, by attribute, that mean something when an SAE encodes, and when a model extracts. Those of `modelOnly` mean nothing in training, which has all others. */
const common = ['trace', 'config', 'quiet', 'json', 'verbose'];
const ofEncoding = ['sae', 'batchSize', 'steps', 'warmUp', 'wall', 'roofline', 'against', 'kernelVariant', ...common];
const modelOnly = ['hook', 'audio', 'take', 'threads', 'backend', 'offline'];
const ofExtraction = ['model', ...modelOnly, ...common];

/** Refuses a flag that would be passed over. */
function refuseOthers(command: Command, what: string, means: (attribute: string) => boolean): void {
  const other = command.options.find((option) => isGiven(command, option.attributeName()) && !means(option.attributeName()));
  if (other) throw new CochleaError('usage', `${other.long} says nothing about ${what}`, 'leave it away');
}

async function profile(flags: Flags, command: Command): Promise<void> {
  const output = openOutput(flags);
  const { sae, model, activations, dIn } = flags;
  if (sae !== undefined && model !== undefined) throw new CochleaError('usage', '--sae and --model exclude each other', 'give one of them');
  const needsModel = model === undefined && modelOnly.find((name) => isGiven(command, name));
  if (needsModel) throw new CochleaError('usage', `--${needsModel} needs --model`, 'see `cochlea models`');
  if (model !== undefined) {
    refuseOthers(command, 'an extraction', (name) => ofExtraction.includes(name));
    return extraction(flags, output);
  }
  if (sae !== undefined) refuseOthers(command, 'how a saved SAE encodes', (name) => ofEncoding.includes(name));
  if (sae === undefined && (dIn === undefined) === (activations === undefined)) {
    throw new CochleaError('usage', dIn === undefined ? 'neither --d-in nor --activations, --sae or --model is given' : '--d-in and --activations exclude each other', 'say what is to be profiled');
  }
  if (sae === undefined) checkFlags(command, flags);
  const before = flags.against === undefined ? undefined : await readProfile(flags.against);
  const source = sae === undefined && activations !== undefined ? await openActivations(activations, { target: flags.arch.includes('transcoder') }) : undefined;
  let gpu: Gpu | undefined;
  try {
    const saeOptions = sae === undefined ? oneSae(command, { ...flags, steps: Math.max(1000, 2 * (flags.steps + flags.warmUp)) }, source?.dIn ?? dIn!) : undefined;
    output.notice((await ensureAdapter()).line);
    gpu = await Gpu.open({ profile: true });
    pinVariants(gpu, flags.kernelVariant);
    const profiler = new Profiler(gpu, flags.wall ? 'wall' : undefined);
    const work = saeOptions ? await trainingWork(gpu, saeOptions, source) : await encodeWork(gpu, sae!, flags.batchSize);
    const { profile: found, timeline } = await measure({
      gpu, profiler, work, steps: flags.steps, warmUp: flags.warmUp, cochlea: version(), onProgress: (line) => output.progress(line),
    });
    const written = await writeFiles(flags, timeline, found);
    const comparison = before && compareProfiles(before, found);
    output.result([describeProfile(found), ...(comparison ? [describeComparison(comparison)] : []), ...written].join('\n'), { ...found, ...(comparison ? { against: comparison } : {}) });
    profiler.detach();
  } finally {
    gpu?.dispose();
    await source?.close();
  }
}

async function extraction(flags: Flags, output: Output): Promise<void> {
  const { model, offline, hook, audio, take, threads, backend } = flags;
  if (hook === undefined || audio === undefined) throw new CochleaError('usage', `--model needs ${hook === undefined ? '--hook' : '--audio'}`, 'see `cochlea hooks MODEL`');
  const { profile: found, timeline } = await profileExtraction({
    model: await locateModel(model!, { offline, ...listeners(output) }), hook, audio, take, threads, backend, cochlea: version(), onProgress: (line) => output.progress(line),
  });
  output.result([describeExtraction(found), ...await writeFiles(flags, timeline)].join('\n'), found);
}

async function writeFiles({ trace, roofline: picture }: Flags, timeline: Timeline, found?: GpuProfile): Promise<string[]> {
  const lines: string[] = [];
  if (trace !== undefined) {
    await runtime.files.write(trace, traceOf(timeline));
    lines.push(`timeline in ${trace}: open it at https://ui.perfetto.dev`);
  }
  if (picture !== undefined && found) {
    await runtime.files.write(picture, roofline(found));
    lines.push(`roofline in ${picture}`);
  }
  return lines;
}
