import process from 'node:process';
import { Command } from 'commander';
import { transcribe } from '../src/index.ts';
import { type AudioFlags, audioHelp, modelHelp, withClipOptions, withOffline, withSpeechOptions } from './support/audio-options.ts';
import { interruptSignal, listeners, openOutput, type OutputOptions, printable } from './support/console.ts';
import { requireOptions } from './support/options.ts';

interface Flags extends OutputOptions, Pick<AudioFlags, 'offline' | 'select' | 'take' | 'threads' | 'strict'> {
  model: string;
  language?: string;
}

export function transcribeCommand(): Command {
  const command = new Command('transcribe')
    .summary('Print what a speech recogniser hears in recordings')
    .description('What a speech recogniser hears in recordings: its words, by greedy decoding')
    .argument('<audio...>', audioHelp)
    .option('--model <model>', `${modelHelp}: one with a decoder beside it, or a CTC model`);
  withSpeechOptions(withClipOptions(withOffline(command)))
    .option('--config <file>', 'JSON file with any of these flags')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action(async (audio: string[], flags: Flags) => {
      const output = openOutput(flags);
      const result = await transcribe({
        ...flags, ...listeners(output), audio, signal: interruptSignal(),
        onClip: ({ id, text }) => {
          if (!flags.json && !flags.quiet) process.stdout.write(`${printable(id)}\t${printable(text)}\n`);
        },
      });
      if (flags.json) output.result('', result);
      else if (result.skipped.length > 0) output.notice(`${result.skipped.length} skipped, each named above`);
    });
  return requireOptions(command, '--model');
}
