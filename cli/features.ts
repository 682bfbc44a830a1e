import { basename, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { type ClipFeatures, type ClipLatent, clipFeatures, CochleaError, type FeaturesResult, type LatentOrder, latentOrders, runtime, SAE } from '../src/index.ts';
import { type AudioFlags, audioHelp, withClipOptions, withOwnModel, withWorkers } from './support/audio-options.ts';
import { counted, interruptSignal, listeners, openOutput, type OutputOptions, printable, table } from './support/console.ts';
import { openGpu } from './support/gpu.ts';
import { nonNegativeNumber, positiveNumber, wholeNumber, wholeNumbers } from './support/options.ts';

interface Flags extends OutputOptions, Omit<AudioFlags, 'audio' | 'targetHook'> {
  top?: number;
  by?: LatentOrder;
  latents?: number[];
  start?: number;
  end?: number;
  html?: string;
  config?: string;
}

const jsonFields = `
The object of --json: sae; model, modelSha256, hook, frameRate (frames per second), dSae; skipped, a line per recording; html, the page when one was written; and clips, each with
  clip, path   its id, and the file
  start, end   the part of the file that was heard, in seconds
  frames       frames of sound; frame i stands at i / frameRate seconds of the clip; what a model pads is no frame
  l0           latents that fire on a frame, in the mean
  latents      largest first by --by, or as --latents names them, each with
    latent     its index
    firings    frames on which it fires: on which its activation is not 0
    share      the same as a share of all frames
    mean       over all frames, 0 where it does not fire (of activations with signs: of their sizes)
    peak, peakTime   the activation that is largest in size, and the second of its frame (of equals the first); null when it never fires
    runs       [from, to, peak] of each run of consecutive firing frames, in order of time: the second of its first frame, that of the frame behind its last, its peak`;

export function featuresCommand(): Command {
  const command = new Command('features')
    .summary('Show what an SAE hears in recordings, and when: a table, JSON or a page')
    .description('What an SAE hears in a recording, and when: its top latents over time, as a table, JSON or a page with spectrogram and sound')
    .argument('<sae>', 'folder of an SAE')
    .argument('<clip...>', audioHelp)
    .option('--top <n>', 'at most so many latents of each clip (20)', wholeNumber(1))
    .addOption(new Option('--by <order>', 'which come first (peak); defined below').choices(Object.keys(latentOrders)))
    .option('--latents <list>', 'these latents instead, as 3,17', wholeNumbers)
    .option('--start <s>', 'hear each clip only from here, in seconds from its beginning', nonNegativeNumber)
    .option('--end <s>', 'hear each clip only up to here, in seconds from its beginning', positiveNumber)
    .option('--html <file>', 'write a page: spectrogram, sound, and the latents\' activations under it; it works without a network');
  return withWorkers(withClipOptions(withOwnModel(command))
    .option('--pool-seconds <n>', 'one row for so many seconds of sound, for an SAE that was trained so', positiveNumber))
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .addHelpText('after', () => `\nOrders:\n${Object.entries(latentOrders).map(([name, definition]) => `  ${name}: ${definition}`).join('\n')}\n${jsonFields}`)
    .action(async (folder: string, audio: string[], flags: Flags) => {
      const { top, by, latents, start, end, html, config: _, quiet: _quiet, json: _json, verbose: _verbose, ...options } = flags;
      if (latents && (top !== undefined || by !== undefined)) throw new CochleaError('usage', `--latents and ${top === undefined ? '--by' : '--top'} exclude each other`, 'give one of them');
      if (start !== undefined && end !== undefined && end <= start) throw new CochleaError('usage', `--end ${end} does not lie behind --start ${start}`, 'both are seconds from the beginning of a clip');
      if (html !== undefined) await refuseOther(html);
      const output = openOutput(flags);
      const gpu = await openGpu(output);
      try {
        const sae = await SAE.load(gpu, folder);
        const name = basename(resolve(folder));
        const { html: page, ...result } = await clipFeatures({
          ...options, ...listeners(output), gpu, audio, sae, choice: latents ? { latents } : { top: top ?? 20, by: by ?? 'peak' }, signal: interruptSignal(), start, end, page: html === undefined ? undefined : { sae: name },
          onProgress: ({ clips, clipsDone }) => output.progress(`clip ${clipsDone} of ${clips}`),
        });
        if (html !== undefined && page !== undefined) await runtime.files.write(html, page);
        output.result(described(result, html), { sae: folder, ...result, clips: result.clips.map(listed), ...(html === undefined ? {} : { html }) });
      } finally {
        gpu.dispose();
      }
    });
}

/** Pages are replaced, no other files: `features sae --html clip.wav other.wav` names a recording for the page. */
async function refuseOther(html: string): Promise<void> {
  const { files } = runtime, there = await files.info(html);
  if (!there || there.isDirectory || there.size === 0) return; // writing says that it is a folder
  const file = await files.open(html);
  const begins = new TextDecoder().decode(await file.read(0, 15));
  await file.close();
  if (begins.toLowerCase() !== '<!doctype html>') throw new CochleaError('file-exists', `${html} is there, and is no page: it would be lost`, 'give --html the name of the page to write');
}

/** Runs as short lists: there may be thousands. */
const listed = ({ latents, ...clip }: ClipFeatures) => ({
  ...clip,
  latents: latents.map(({ peak = null, peakTime = null, runs, ...latent }) => ({ ...latent, peak, peakTime, runs: runs.map((run) => [run.from, run.to, run.peak]) })),
});

function described({ model, hook, clips, skipped }: FeaturesResult, html: string | undefined): string {
  return [
    `${printable(hook)} of ${printable(model)}`,
    ...clips.flatMap((clip) => ['', `${printable(clip.clip)}: ${(clip.end - clip.start).toFixed(2)} s${clip.start > 0 ? ` from ${clip.start.toFixed(2)} s` : ''}, ${counted(clip.frames, 'frame')}, ${clip.l0.toFixed(1)} latents per frame`, latentTable(clip.latents)]),
    ...(skipped.length > 0 ? ['', `${skipped.length} skipped, each named above`] : []),
    ...(html === undefined ? [] : ['', `listen: ${html}   (open it in a browser)`]),
  ].join('\n');
}

function latentTable(latents: readonly ClipLatent[]): string {
  const rows = latents.map(({ latent, firings, share, mean, peak, peakTime, runs }) => [
    String(latent), String(firings), `${(100 * share).toFixed(1)}%`, Number(mean.toPrecision(3)).toString(), peak === undefined ? '-' : Number(peak.toPrecision(4)).toString(),
    peakTime === undefined ? '-' : peakTime.toFixed(2), strongestRuns(runs),
  ]);
  return table([['latent', 'firings', 'share', 'mean', 'peak', 'at s', 'fires from-to, s'], ...rows]);
}

/** Runs that fit on a line, in order of time. */
const fitting = 5;

function strongestRuns(runs: ClipLatent['runs']): string {
  const strongest = new Set([...runs].sort((a, b) => Math.abs(b.peak) - Math.abs(a.peak) || a.from - b.from).slice(0, fitting));
  const written = runs.filter((run) => strongest.has(run)).map(({ from, to }) => `${from.toFixed(2)}-${to.toFixed(2)}`).join(' ');
  return runs.length > fitting ? `${written} and ${runs.length - fitting} more` : written;
}
