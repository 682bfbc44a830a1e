import process from 'node:process';
import { Command } from 'commander';
import { transcribe } from '../src/index.ts';
import { interruptSignal, openOutput, type OutputOptions } from './support/console.ts';
import { labelValue, requireOptions, wholeNumber } from './support/options.ts';

interface Flags extends OutputOptions {
  model: string;
  language?: string;
  select?: Record<string, string>;
  take?: number;
  threads?: number;
  strict?: boolean;
}

export function transcribeCommand(): Command {
  const command = new Command('transcribe')
    .description('What a speech recogniser hears in recordings: its words, by greedy decoding')
    .argument('<audio...>', 'sound files, folders of them (searched whole), or manifests (.csv, .jsonl)')
    .option('--model <model>', 'a name of `cochlea models`, or a path to an encoder with its decoder beside it, or to a CTC model')
    .option('--language <code>', 'of a multilingual Whisper: the language spoken, as in en (else the model finds it)')
    .option('--select <label=value>', 'only clips with this label in the manifest (may be repeated)', labelValue)
    .option('--take <n>', 'only so many clips, spread evenly', wholeNumber(1))
    .option('--threads <n>', 'threads of the model', wholeNumber(1))
    .option('--strict', 'stop at the first recording that cannot be used, instead of skipping and counting it')
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action(async (audio: string[], flags: Flags) => {
      const output = openOutput(flags);
      const { model, language, select, take, threads, strict } = flags;
      const result = await transcribe({
        audio, model, language, signal: interruptSignal(), onNotice: (line) => output.notice(line),
        ...(select && { select }), ...(take !== undefined && { take }), ...(threads !== undefined && { threads }), ...(strict && { strict }),
        onClip: ({ id, text }) => {
          if (!flags.json && !flags.quiet) process.stdout.write(`${id}\t${text}\n`);
        },
      });
      if (flags.json) output.result('', result);
      else if (result.skipped.length > 0) output.notice(`${result.skipped.length} skipped, each named above`);
    });
  return requireOptions(command, '--model');
}
