/**
 * Checkpoints of a run: folders `checkpoints/step-00000100` with the trainer's tensors and a small JSON. A folder is
 * written under another name and renamed when it is whole; the two newest are kept, so that one survives any crash.
 */
import type { MixingState } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { type Json, openSafetensors, writeSafetensors } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import type { InputTransform, TrainerState } from './trainer.ts';

const version = 1;
const kept = 2;

export interface Checkpoint {
  trainer: TrainerState;
  mixing: MixingState;
  input: InputTransform;
  /** What decides the bits of the run; a run with other settings cannot go on from here. */
  settings: Record<string, Json>;
}

const { paths, files } = runtime;
const folderOf = (out: string): string => paths.join(out, 'checkpoints');
const nameOf = (step: number): string => `step-${String(step).padStart(8, '0')}`;

/** Writes the checkpoint and removes all but the newest two. */
export async function writeCheckpoint(out: string, checkpoint: Checkpoint): Promise<void> {
  const name = nameOf(checkpoint.trainer.step);
  const partial = paths.join(folderOf(out), `${name}.partial`);
  const target = paths.join(folderOf(out), name);
  await files.remove(partial);
  try {
    await writeInto(partial, checkpoint);
  } catch (error) {
    await files.remove(partial).catch(() => {}); // what went wrong first is what is told
    throw error;
  }
  await files.remove(target);
  await files.rename(partial, target);
  for (const old of (await checkpointNames(out)).slice(0, -kept)) await files.remove(paths.join(folderOf(out), old));
}

async function writeInto(folder: string, { trainer, mixing, input, settings }: Checkpoint): Promise<void> {
  const tensors = [...trainer.tensors, ['input_mean', input.mean] as const].map(([tensor, data]) => ({
    name: tensor, dtype: data instanceof Float32Array ? 'F32' as const : 'U32' as const, shape: [data.length],
    data: data instanceof Float32Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }));
  await writeSafetensors(paths.join(folder, 'state.safetensors'), tensors);
  const state = {
    version, step: trainer.step, fired_rows: trainer.firedRows, fired_rows_before: trainer.firedRowsBefore,
    mixing: { ...mixing }, input_scale: input.scale, settings, tensors_sha256: await fileDigest(paths.join(folder, 'state.safetensors')),
  };
  await files.write(paths.join(folder, 'state.json'), `${JSON.stringify({ ...state, sha256: stateDigest(state) }, null, 2)}\n`);
}

/** Names of whole checkpoints, oldest first. */
async function checkpointNames(out: string): Promise<string[]> {
  if (!(await files.info(folderOf(out)))?.isDirectory) return [];
  const step = (name: string): number => Number(name.slice('step-'.length));
  return (await files.list(folderOf(out))).filter((name) => /^step-\d{8,}$/.test(name)).sort((a, b) => step(a) - step(b));
}

/**
 * The newest checkpoint that is undamaged, or undefined when there is none at all. Damaged ones are passed over and named in `problems`. Throws
 * `file-damaged` when there are only damaged ones.
 */
export async function readCheckpoint(out: string): Promise<{ checkpoint: Checkpoint; problems: string[] } | undefined> {
  const names = await checkpointNames(out);
  const problems: string[] = [];
  for (const name of names.reverse()) {
    const folder = paths.join(folderOf(out), name);
    try {
      return { checkpoint: await readOne(folder), problems };
    } catch (error) {
      if (!(error instanceof CochleaError)) throw error;
      problems.push(error.message);
    }
  }
  if (problems.length > 0) throw new CochleaError('file-damaged', problems.join('; '), `no checkpoint in ${out} is whole: train anew into another folder`);
  return undefined;
}

async function readOne(folder: string): Promise<Checkpoint> {
  const path = paths.join(folder, 'state.json');
  const damaged = (why: string): never => {
    throw new CochleaError('file-damaged', `${path} ${why}`);
  };
  let sealed: Record<string, Json> = {};
  try {
    sealed = JSON.parse(await files.readText(path)) as Record<string, Json>;
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    damaged('is not JSON');
  }
  if (typeof sealed !== 'object' || sealed === null) return damaged('is not a JSON object');
  const { sha256, ...state } = sealed;
  if (sha256 !== stateDigest(state)) damaged('does not have the checksum that it gives');
  if (state['version'] !== version) damaged(`is of version ${JSON.stringify(state['version'])}, not ${version}`);
  const tensorPath = paths.join(folder, 'state.safetensors');
  if (await fileDigest(tensorPath) !== state['tensors_sha256']) throw new CochleaError('file-damaged', `${tensorPath} does not have the checksum that ${path} gives`);
  const tensors = new Map<string, Float32Array | Uint32Array>();
  const file = await openSafetensors(tensorPath);
  try {
    for (const [name, { dtype }] of file.tensors) {
      if (dtype === 'F32') tensors.set(name, await file.readFloat32(name));
      else tensors.set(name, Uint32Array.from(await file.readFloat64(name)));
    }
  } finally {
    await file.close();
  }
  const mean = tensors.get('input_mean');
  tensors.delete('input_mean');
  if (!(mean instanceof Float32Array)) return damaged('has no input mean');
  return {
    trainer: { step: Number(state['step']), firedRows: Number(state['fired_rows']), firedRowsBefore: Number(state['fired_rows_before']), tensors },
    mixing: state['mixing'] as unknown as MixingState,
    input: { mean, scale: Number(state['input_scale']) },
    settings: state['settings'] as Record<string, Json>,
  };
}

/** Of what the JSON says, however it is laid out. */
function stateDigest(state: Record<string, Json>): string {
  const hash = runtime.sha256();
  hash.update(new TextEncoder().encode(JSON.stringify(state)));
  return hash.hex();
}

async function fileDigest(path: string): Promise<string> {
  const handle = await files.open(path);
  const hash = runtime.sha256();
  const step = 8 * 2 ** 20;
  try {
    for (let at = 0; at < handle.size; at += step) hash.update(await handle.read(at, step));
  } finally {
    await handle.close();
  }
  return hash.hex();
}
