import { type Command, Option } from 'commander';
import { backendNames, type BackendName, CochleaError } from '../../src/index.ts';
import { isGiven, labelValue, positiveNumber, wholeNumber } from './options.ts';

/** What commands ask of recordings and models, under the same flags. */
export interface AudioFlags {
  audio?: string[];
  model?: string;
  hook?: string;
  offline?: boolean;
  targetHook?: string;
  select?: Record<string, string>;
  take?: number;
  workers?: number;
  threads?: number;
  backend?: BackendName;
  poolSeconds?: number;
  strict?: boolean;
}

/** Flags that say nothing of stored frames. */
const ofRecordings: readonly (keyof AudioFlags)[] = ['model', 'hook', 'offline', 'targetHook', 'select', 'take', 'strict', 'workers', 'threads', 'backend', 'poolSeconds'];

/** For commands that take --activations instead of --audio. Throws `usage` for a flag of recordings that was given, by the command line or --config: it would do nothing. */
export function refuseRecordingFlags(command: Command): void {
  const given = command.options.find((option) => (ofRecordings as readonly string[]).includes(option.attributeName()) && isGiven(command, option.attributeName()));
  if (given) throw new CochleaError('usage', `${given.long} is for recordings, and --activations are stored frames`, 'leave it away, or give --audio');
}

/** What a MODEL can be. */
export const modelHelp = 'a name of `cochlea models`, ORG/NAME[@REVISION][:FILE] of the Hugging Face Hub, or a path to an .onnx encoder or its folder';
const offlineHelp = 'of a model of the Hub, ask nobody: take what is in the cache, or say what is missing (HF_HUB_OFFLINE=1 says the same)';

/** What recordings can be given as. */
export const audioHelp = 'sound files, folders of them (searched whole), or manifests (.csv, .jsonl) with labels';

export function withAudioOptions(command: Command): Command {
  withOffline(command.option('--audio <path...>', audioHelp).option('--model <model>', modelHelp))
    .option('--hook <hook>', 'a name of `cochlea hooks MODEL`, or a tensor of the graph')
    .option('--target-hook <hook>', 'for transcoders: a second hook point, whose frames are what is to be made of those at --hook');
  withClipOptions(command)
    .option('--pool-seconds <n>', 'one row for so many seconds of sound, the mean of their frames, instead of one per frame', positiveNumber);
  return withWorkers(command);
}

/** What runs an encoder, and on how many processors. */
export function withWorkers(command: Command): Command {
  return command
    .option('--workers <n>', 'sessions of the model that encode clips side by side (default: one per processor, as far as there are recordings and memory enough)', wholeNumber(1))
    .option('--threads <n>', 'threads of each of them (default: the processors that are left over, at most 4)', wholeNumber(1))
    .addOption(backendOption());
}

/** Which of the recordings, and what becomes of bad ones. */
export function withClipOptions(command: Command): Command {
  return command
    .option('--select <label=value>', 'only clips with this label in the manifest (may be repeated)', labelValue)
    .option('--take <n>', 'only so many clips, spread evenly', wholeNumber(1))
    .option('--strict', 'stop at the first recording that cannot be used, instead of skipping and counting it');
}

export function withOffline(command: Command): Command {
  return command.option('--offline', offlineHelp);
}

/** For commands about an SAE, which says what it was trained on. */
export function withOwnModel(command: Command): Command {
  return withOffline(command
    .option('--model <model>', `instead of the model that the SAE was trained on: ${modelHelp}`)
    .option('--hook <hook>', 'instead of the hook point that the SAE was trained on'));
}

/** For commands that run a model beyond a hook point, in one session of the wasm build. */
export function withSpeechOptions(command: Command): Command {
  return command
    .option('--language <code>', 'of a multilingual Whisper: the language spoken, as in en (else the model finds it)')
    .option('--threads <n>', 'threads of the model, which runs in the wasm build of ONNX Runtime (default: one per processor, at most 4)', wholeNumber(1));
}

/** What runs an encoder; `choices` where not all can. */
export function backendOption(choices: readonly BackendName[] = backendNames): Option {
  const onGpu = choices.includes('gpu') ? ', or that on the GPU' : '';
  return new Option('--backend <name>', `what runs the model: onnxruntime-node where it is installed (auto, native), the wasm build of ONNX Runtime${onGpu}`).choices(choices).default('auto');
}
