import { Command, InvalidArgumentError, Option } from 'commander';
import { CochleaError, movedNames, type Spread, steer, steerModes, type SteerReport, usualStrengths } from '../src/index.ts';
import { withOwnModel, withSpeechOptions } from './support/audio-options.ts';
import { short } from './support/behaviour.ts';
import { counted, interruptSignal, listeners, openOutput, type OutputOptions, printable, table } from './support/console.ts';
import { openGpu } from './support/gpu.ts';
import { positiveNumber, requireOptions, wholeNumber } from './support/options.ts';

interface Flags extends OutputOptions {
  latent: number;
  mode?: (typeof steerModes)[number];
  strengths?: number[];
  unit?: number;
  swapFrom?: string;
  dropError?: boolean;
  controls: number;
  seed: number;
  model?: string;
  hook?: string;
  offline?: boolean;
  language?: string;
  threads?: number;
}

const help = `
Modes, for the latent's activation f in every frame; strength s:
  add     f + s * unit, whether the latent fires or not (strengths ${usualStrengths.add.join(', ')} unless given)
  scale   s * f (${usualStrengths.scale.join(', ')})
  set     s * unit (${usualStrengths.set.join(', ')})
  zero    0
  --swap-from CLIP2   the activation at the same row of CLIP2; rows that the shorter clip has not are left alone
The unit is the latent's largest activation over the clip, unless --unit gives one.

What the SAE does not explain of a frame stays in it, so that nothing else changes; with --drop-error the frames are reconstructions, before and after.

The table says what moved against the unsteered clip: tokens of the greedy transcript that changed; cross-entropy (nats per token) of the unsteered transcript's tokens
and KL divergence from the unsteered model at them; word error rate against the unsteered transcript; cosine of the encoder's output with the unsteered one, and their distance over
the latter's length. The second line of each strength is the mean over --controls random directions, with their range: each adds to every frame just as much, in length and sign.`;

export function steerCommand(): Command {
  const command = new Command('steer')
    .summary('Change one latent in a recording, and see what becomes of what the model says')
    .description('Change one latent in every frame of a recording, and see what becomes of what the model says, beside random directions of the same length')
    .argument('<sae>', 'folder of an SAE')
    .argument('<clip>', 'a sound file')
    .option('--latent <n>', 'the latent', wholeNumber(0))
    .addOption(new Option('--mode <mode>', 'what is done to its activation; see below (add)').choices([...steerModes]))
    .option('--strengths <list>', 'with commas between them, as -1,0.5,2', numbers)
    .option('--unit <x>', 'the activation that strength 1 stands for', positiveNumber)
    .option('--swap-from <clip2>', 'another recording, whose activations of the latent replace the clip\'s own')
    .option('--drop-error', 'leave out what the SAE does not explain')
    .option('--controls <n>', 'random directions beside each strength', wholeNumber(0), 4)
    .option('--seed <n>', 'seed of the random directions', wholeNumber(0), 0);
  withSpeechOptions(withOwnModel(command))
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object, with the controls\' transcripts')
    .addHelpText('after', help)
    .action(async (folder: string, clip: string, flags: Flags) => {
      const { mode, swapFrom, dropError, ...options } = flags;
      if (swapFrom !== undefined && mode !== undefined) throw new CochleaError('usage', '--swap-from and --mode exclude each other', 'give one of them');
      const output = openOutput(flags);
      const signal = interruptSignal();
      const gpu = await openGpu(output);
      try {
        const report = await steer({
          ...options, ...listeners(output), gpu, sae: folder, clip, mode: swapFrom === undefined ? mode ?? 'add' : 'swap', swapFrom, error: dropError ? 'dropped' : 'kept', signal,
          onProgress: ({ run, runs }) => output.progress(`run ${run} of ${runs} of the rest of the model`),
        });
        output.result(describe(report), report);
      } finally {
        gpu.dispose();
      }
    });
  return requireOptions(command, '--latent');
}

function numbers(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (!values.every(Number.isFinite)) throw new InvalidArgumentError('It must be numbers with commas between them.');
  return values;
}

function describe({ settings, latent, frames, activation, unsteered, rows }: SteerReport): string {
  const shown = movedNames.filter((name) => rows.some(({ moved }) => moved[name] !== null));
  const named = ({ strength, edit }: (typeof rows)[number]): string => (strength === null ? edit : `${edit} ${strength}`);
  const value = (number: number | null): string => (number === null ? '-' : short(number));
  const range = (spread: Spread): string => (spread === null ? '-' : `${short(spread.mean)} (${short(spread.low)} to ${short(spread.high)})`);
  const fires = activation.frames === 0 ? 'it never fires' : `it fires in ${activation.frames} of ${counted(frames, 'frame')}, ${short(activation.meanWhenActive!)} in the mean, at most ${short(activation.largest)}`;
  return [
    `latent ${latent} of ${settings.sae} at ${printable(settings.hook)} of ${printable(settings.model)}: ${fires}`,
    ...(settings.unit === null ? [] : [`strength 1: ${short(settings.unit)}, ${settings.unit_is}`]),
    ...(settings.swapped === null ? [] : [`${settings.swapped} of ${counted(frames, 'frame')} swapped, row by row, with those of ${printable(settings.swap_from!)}`]),
    ...(settings.error === 'dropped' ? ['frames are reconstructions, before and after'] : []),
    '',
    ...(unsteered.transcript === null ? [] : [
      table([['unsteered', unsteered.transcript], ...rows.map((row) => [named(row), row.transcript === unsteered.transcript ? '(the same)' : row.transcript || '(nothing)'])]), '',
    ]),
    table([
      ['', 'frames', 'length', ...shown],
      ...(unsteered.tokens === null ? [] : [['unsteered', '', '', ...shown.map((name) => (name === 'tokens_changed' ? `of ${unsteered.tokens}` : name === 'ce_loss' ? value(unsteered.ce_loss) : ''))]]),
      ...rows.flatMap((row) => [
        [named(row), String(row.framesChanged), short(row.meanLength), ...shown.map((name) => value(row.moved[name]))],
        ...(settings.controls > 0 ? [['  random', '', '', ...shown.map((name) => range(row.controls[name]))]] : []),
      ]),
    ]),
    '',
    `frames: how many changed; length: mean of what was added to them. ${settings.controls > 0 ? `random: mean and range over ${settings.controls} directions, seed ${settings.seed}. ` : ''}--help says what each number means.`,
  ].join('\n');
}
