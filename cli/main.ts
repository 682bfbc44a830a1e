#!/usr/bin/env node
import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { convertCommand } from './convert.ts';
import { demoCommand } from './demo.ts';
import { devicesCommand } from './devices.ts';
import { encodeCommand } from './encode.ts';
import { evalCommand } from './eval.ts';
import { exportCommand } from './export.ts';
import { extractCommand } from './extract.ts';
import { featuresCommand } from './features.ts';
import { hooksCommand } from './hooks.ts';
import { infoCommand } from './info.ts';
import { modelsCommand } from './models.ts';
import { profileCommand } from './profile.ts';
import { publishCommand } from './publish.ts';
import { pullCommand } from './pull.ts';
import { recipesCommand } from './recipes.ts';
import { steerCommand } from './steer.ts';
import { tensorboardCommand } from './tensorboard.ts';
import { trainCommand } from './train.ts';
import { transcribeCommand } from './transcribe.ts';
import { verifyCommand } from './verify.ts';
import { applyConfigFile } from './support/config-file.ts';
import { reportFailure, surviveClosedOutput, usageLine } from './support/failure.ts';
import { version } from './support/version.ts';

const program = new Command('cochlea')
  .description('Train, evaluate and explore sparse autoencoders on audio models, on any GPU, without CUDA and without Python.')
  .version(version(), '--version')
  .option('--verbose', 'show the stack of an error')
  .enablePositionalOptions()
  .exitOverride()
  .commandsGroup('Start:')
  .configureHelp({ subcommandTerm: (command) => command.name() })
  .configureOutput({ outputError: (text, write) => write(usageLine(text)) })
  .hook('preAction', (_, command) => applyConfigFile(command));

/** In the order in which they are used. */
const commands: Record<string, (() => Command)[]> = {
  'Start:': [demoCommand, devicesCommand],
  'Models and frames:': [modelsCommand, hooksCommand, extractCommand, exportCommand],
  'Training:': [recipesCommand, trainCommand, tensorboardCommand],
  'What an SAE does:': [evalCommand, featuresCommand, steerCommand, transcribeCommand, encodeCommand, infoCommand],
  'Published SAEs:': [pullCommand, publishCommand, convertCommand],
  'The engine:': [profileCommand, verifyCommand],
};
for (const [group, made] of Object.entries(commands)) {
  for (const command of made) program.addCommand(command().copyInheritedSettings(program).helpGroup(group).option('--verbose', 'show the stack of an error'));
}

surviveClosedOutput();
try {
  await program.parseAsync(process.argv);
} catch (error) {
  // Commander has printed its own line already, for --help and for wrong usage.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else process.exitCode = reportFailure(error, [program, ...program.commands].some((command) => command.opts()['verbose'] === true));
}
