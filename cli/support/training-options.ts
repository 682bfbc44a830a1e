/** What `train` reads of its flags: how one SAE is made and trained, alone or as one of many. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { CochleaError, type Compatibility, saeConfig, type SaeOptions, trainerConfig } from '../../src/index.ts';
import { architectureFields, architectureHas, givenFields, idleFields, isArchitectureFlag } from './architecture-options.ts';
import { flagsOf, readJson } from './config-file.ts';
import { isGiven, nonNegativeNumber, positiveNumber, wholeNumber } from './options.ts';

/** Flags that say how an SAE trains, beside its architecture's own. */
export interface TrainingFlags {
  arch: string;
  dSae?: number;
  expansion?: number;
  lr: number | 'auto';
  lrEnd?: number;
  lrScheduler: 'constant' | 'cosineannealing' | 'cosineannealingwarmrestarts';
  lrWarmUpSteps: number;
  lrDecaySteps: number;
  nRestartCycles: number;
  seed: number;
  deadFeatureWindow: number;
  featureSamplingWindow: number;
  unitNormDecoder?: boolean;
  resampleSteps?: number[];
  bDecInitMethod: 'zeros' | 'mean' | 'geometric_median';
  centre: boolean;
  compatibility: Compatibility;
}

/** Flags of the whole run that an SAE's training needs as well. */
export interface RunSize {
  batchSize: number;
  steps: number;
}

export function withTrainingOptions(command: Command): Command {
  return command
    .option('--d-sae <n>', 'number of latents', wholeNumber(1))
    .option('--expansion <factor>', 'number of latents as a multiple of d_in (8 unless --d-sae is given)', positiveNumber)
    .option('--lr <rate>', 'learning rate of Adam; auto: 2e-4 / sqrt(d_sae / 2^14)', rateOrAuto, 3e-4)
    .option('--lr-end <rate>', 'where cosine schedules end (lr / 10)', nonNegativeNumber)
    .addOption(new Option('--lr-scheduler <name>', 'schedule between warm-up and decay').choices(['constant', 'cosineannealing', 'cosineannealingwarmrestarts']).default('constant'))
    .option('--lr-warm-up-steps <n>', 'steps of linear warm-up', wholeNumber(0), 0)
    .option('--lr-decay-steps <n>', 'steps of linear decay at the end', wholeNumber(0), 0)
    .option('--n-restart-cycles <n>', 'cycles of cosineannealingwarmrestarts', wholeNumber(1), 1)
    .option('--seed <n>', 'seed of initialisation and mixing', wholeNumber(0), 42)
    .option('--dead-feature-window <steps>', 'a latent silent for more steps than this is dead', wholeNumber(1), 1000)
    .option('--feature-sampling-window <steps>', 'steps over which firing frequencies are counted', wholeNumber(1), 2000)
    .option('--unit-norm-decoder', 'keep decoder rows at length 1 (with --decoder-init-norm 1)')
    .option('--resample-steps <n,n,...>', 'steps after which dead latents begin anew from badly reconstructed frames', stepList)
    .addOption(new Option('--b-dec-init-method <name>', 'what b_dec begins as').choices(['zeros', 'mean', 'geometric_median']).default('zeros'))
    .option('--no-centre', 'do not subtract the mean frame')
    .addOption(new Option('--compatibility <mode>', 'corrected mathematics, or exactly those of SAELens 6.18').choices(['corrected', 'saelens-6.18']).default('corrected'));
}

function rateOrAuto(text: string): number | 'auto' {
  return text === 'auto' ? 'auto' : positiveNumber(text);
}

function stepList(text: string): number[] {
  const steps = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (!steps.every((step) => Number.isSafeInteger(step) && step > 0)) throw new InvalidArgumentError('It must be steps with commas between them.');
  return steps;
}

/** One SAE of `dIn` numbers as the flags have it. `fields` are its architecture's. */
function saeOptions(flags: TrainingFlags & RunSize, dIn: number, fields: Record<string, unknown>): SaeOptions {
  const dSae = flags.dSae ?? Math.round((flags.expansion ?? 8) * dIn);
  const sae = saeConfig({ ...fields, architecture: flags.arch, d_in: dIn, d_sae: dSae });
  const training = trainerConfig({
    train_batch_size_samples: flags.batchSize, total_training_samples: flags.steps * flags.batchSize, lr: flags.lr, lr_scheduler_name: flags.lrScheduler,
    lr_warm_up_steps: flags.lrWarmUpSteps, lr_decay_steps: flags.lrDecaySteps, n_restart_cycles: flags.nRestartCycles,
    dead_feature_window: flags.deadFeatureWindow, feature_sampling_window: flags.featureSamplingWindow, seed: flags.seed,
    unit_norm_decoder: flags.unitNormDecoder ?? false, resample_steps: flags.resampleSteps ?? [], b_dec_init_method: flags.bDecInitMethod,
    ...(flags.lrEnd === undefined ? {} : { lr_end: flags.lrEnd }),
  }, dSae);
  return { sae, training, centre: flags.centre && !['constant_norm_rescale', 'layer_norm'].includes(sae.normalize_activations), compatibility: flags.compatibility };
}

/** Refuses flags that do not go together, before any file is read. */
export function checkFlags(command: Command, flags: TrainingFlags): void {
  exclusive(flags);
  const fields = architectureFields(flags.arch, { forIt: givenFields(command) });
  refuseIdle(command, idleFlags(flags, fields), (key) => isGiven(command, key));
}

/** Flags that do nothing beside the others, by attribute, each with what they go with. */
function idleFlags({ arch, lrScheduler }: TrainingFlags, fields: Record<string, unknown>): Record<string, string> {
  return {
    ...(lrScheduler === 'constant' && { lrEnd: 'with --lr-scheduler cosineannealing or cosineannealingwarmrestarts' }),
    ...(lrScheduler !== 'cosineannealingwarmrestarts' && { nRestartCycles: 'with --lr-scheduler cosineannealingwarmrestarts' }), ...idleFields(arch, fields),
  };
}

function refuseIdle(command: Command, idle: Record<string, string>, given: (key: string) => boolean, where = ''): void {
  const key = Object.keys(idle).find(given);
  if (key === undefined) return;
  const flag = command.options.find((option) => option.attributeName() === key)!.long!;
  throw new CochleaError('usage', `${where}${flag} does nothing here`, `it goes ${idle[key]!}`);
}

/** The one SAE of the command line. */
export function oneSae(command: Command, flags: TrainingFlags & RunSize, dIn: number): SaeOptions {
  return saeOptions(flags, dIn, architectureFields(flags.arch, { forIt: givenFields(command) }));
}

/** An SAE of `--saes`, before the width of the frames is known. */
export interface NamedFlags {
  name: string;
  flags: TrainingFlags & RunSize;
  fields: Record<string, unknown>;
}

/** Flags, by attribute, that belong to one SAE of many. */
export const trainingFlags: ReadonlySet<string> = new Set(['arch', 'dSae', 'expansion', 'lr', 'lrEnd', 'lrScheduler', 'lrWarmUpSteps', 'lrDecaySteps', 'nRestartCycles', 'seed', 'deadFeatureWindow',
  'featureSamplingWindow', 'unitNormDecoder', 'resampleSteps', 'bDecInitMethod', 'centre', 'compatibility']);

/** The SAEs of a --saes file: a list of objects with a `name` and any flags of an SAE; what one does not have is the command line's. */
export function manySaes(command: Command, flags: TrainingFlags & RunSize, path: string): NamedFlags[] {
  const list = readJson(path);
  if (!Array.isArray(list) || list.length === 0) throw new CochleaError('config', `${path} is not a list of SAEs`, 'as in [{"name": "small", "arch": "topk", "d-sae": 1024, "k": 32}, ...]');
  const forAll = givenFields(command);
  exclusive(flags);
  const named = list.map((entry: unknown, n): NamedFlags => {
    const where = `${path}, SAE ${n + 1}`;
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) throw new CochleaError('config', `${where} is not an object of flags`);
    const { name, ...rest } = entry as Record<string, unknown>;
    if (typeof name !== 'string') throw new CochleaError('config', `${where} has no name`, 'it becomes the name of its folder in --out');
    const own = flagsOf(command, rest, where);
    const ofTheRun = Object.keys(own).find((key) => !trainingFlags.has(key) && !isArchitectureFlag(key));
    if (ofTheRun !== undefined) throw new CochleaError('config', `${where}: ${ofTheRun} is the same for all SAEs of a run`, 'give it on the command line');
    if ('dSae' in own || 'expansion' in own) exclusive(own);
    const { dSae: _, expansion: __, ...withoutSize } = flags;
    const merged = { ...('dSae' in own || 'expansion' in own ? withoutSize : flags), ...own } as TrainingFlags & RunSize;
    const fields = architectureFields(merged.arch, { forAll, forIt: own });
    refuseIdle(command, idleFlags(merged, fields), (key) => key in own, `${where}: `);
    return { name, flags: merged, fields };
  });
  const unused = Object.keys(forAll).find((key) => isGiven(command, key) && !named.some((one) => architectureHas(one.flags.arch, key)));
  if (unused !== undefined) {
    throw new CochleaError('usage', `${command.options.find((option) => option.attributeName() === unused)!.long!} is no option of any SAE in ${path}`, 'leave it away, or change an --arch');
  }
  const idle = named.map((one) => idleFlags(one.flags, one.fields));
  refuseIdle(command, idle[0]!, (key) => isGiven(command, key) && idle.every((one) => key in one));
  return named;
}

/** The SAEs of `manySaes` for frames of `dIn` numbers. */
export function sizedSaes(saes: readonly NamedFlags[], dIn: number): (SaeOptions & { name: string })[] {
  return saes.map(({ name, flags, fields }) => ({ name, ...saeOptions(flags, dIn, fields) }));
}

function exclusive({ dSae, expansion }: { dSae?: unknown; expansion?: unknown }): void {
  if (dSae !== undefined && expansion !== undefined) throw new CochleaError('usage', '--d-sae and --expansion exclude each other', 'give one of them');
}
