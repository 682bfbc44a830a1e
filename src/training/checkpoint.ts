/**
 * Checkpoints of a run: folders `checkpoints/step-00000100` with the tensors of each SAE's trainer and one small JSON. A folder is written
 * under another name and renamed when it is whole, with all SAEs in it; the two newest are kept, so that one survives any crash.
 */
import type { MixingState } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { type Json, openSafetensors, writeSafetensors } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import type { InputTransform } from '../sae/index.ts';
import type { StartStatistics } from './start-statistics.ts';
import type { TrainerState } from './trainer.ts';

const version = 4;
const kept = 2;

export interface Checkpoint {
  /** Steps done. */
  step: number;
  mixing: MixingState;
  /** What decides the bits of the run; a run with other settings cannot go on from here. */
  settings: Record<string, Json>;
  /** By the SAEs' names, '' for that of a run of one. */
  saes: ReadonlyMap<string, SavedSae>;
}

/** One SAE's part. The tensors of all need not be in memory together. */
export interface SavedSae {
  input: InputTransform;
  start: StartStatistics;
  state(): Promise<TrainerState>;
}

type Fields = Record<string, Json>;

const { paths, files } = runtime;
const folderOf = (out: string): string => paths.join(out, 'checkpoints');
const unfinished = '.partial';
const nameOf = (step: number): string => `step-${String(step).padStart(8, '0')}`;
const tensorFile = (sae: string): string => `${sae === '' ? 'state' : sae}.safetensors`;

/**
 * Writes the checkpoint and removes all but it and the newest before it: later ones are damaged, for a run goes on from the newest that is not. One of
 * this step that is whole stays as it is, so that there is no moment without it.
 */
export async function writeCheckpoint(out: string, checkpoint: Checkpoint): Promise<void> {
  const name = nameOf(checkpoint.step);
  const partial = paths.join(folderOf(out), `${name}${unfinished}`);
  const target = paths.join(folderOf(out), name);
  await removeUnfinished(out);
  if (await isWhole(target)) return;
  try {
    await writeInto(partial, checkpoint);
  } catch (error) {
    await files.remove(partial).catch(() => {}); // what went wrong first is what is told
    throw error;
  }
  await files.remove(target);
  await files.rename(partial, target);
  const names = await checkpointNames(out), next = names.indexOf(name) + 1;
  for (const other of [...names.slice(0, Math.max(0, next - kept)), ...names.slice(next)]) await files.remove(paths.join(folderOf(out), other));
}

/** Removes what a kill in the middle of a write left: it may be as large as a checkpoint. */
async function removeUnfinished(out: string): Promise<void> {
  if (!(await files.info(folderOf(out)))?.isDirectory) return;
  for (const name of await files.list(folderOf(out))) {
    if (/^step-\d{8,}$/.test(name.slice(0, -unfinished.length)) && name.endsWith(unfinished)) await files.remove(paths.join(folderOf(out), name));
  }
}

async function isWhole(folder: string): Promise<boolean> {
  if (!await files.info(folder)) return false;
  try {
    await readOne(folder);
    return true;
  } catch (error) {
    if (error instanceof CochleaError) return false;
    throw error;
  }
}

async function writeInto(folder: string, { step, mixing, settings, saes }: Checkpoint): Promise<void> {
  const parts: Record<string, Fields> = {};
  for (const [name, sae] of saes) parts[name] = await writeSae(paths.join(folder, tensorFile(name)), sae);
  const state = { version, step, mixing: { ...mixing }, settings, saes: parts };
  await files.write(paths.join(folder, 'state.json'), `${JSON.stringify({ ...state, sha256: stateDigest(state) }, null, 2)}\n`);
}

async function writeSae(path: string, { input, start, state }: SavedSae): Promise<Fields> {
  const trainer = await state();
  const { target } = input;
  const all = [...trainer.tensors, ['input_mean', input.mean] as const, ...(target ? [['target_mean', target.mean] as const] : [])];
  await writeSafetensors(path, all.map(([tensor, data]) => ({
    name: tensor, dtype: data instanceof Float32Array ? 'F32' as const : 'U32' as const, shape: [data.length],
    data: data instanceof Float32Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  })));
  return {
    fired_rows: trainer.firedRows, fired_rows_before: trainer.firedRowsBefore, topk_threshold: trainer.topkThreshold, topk_threshold_steps: trainer.topkThresholdSteps, input_scale: input.scale,
    ...(target ? { target_scale: target.scale } : {}), start: { ...start }, tensors_sha256: await fileDigest(path),
  };
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
  let sealed: Fields = {};
  try {
    sealed = JSON.parse(await files.readText(path)) as Fields;
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    damaged('is not JSON');
  }
  if (typeof sealed !== 'object' || sealed === null) return damaged('is not a JSON object');
  const { sha256, ...state } = sealed;
  if (sha256 !== stateDigest(state)) damaged('does not have the checksum that it gives');
  if (state['version'] !== version) damaged(`is of version ${JSON.stringify(state['version'])}, not ${version}`);
  const step = Number(state['step']);
  const saes = new Map<string, SavedSae>();
  for (const [name, part] of Object.entries(state['saes'] as Record<string, Fields>)) saes.set(name, await readSae(folder, name, part, step));
  return { step, mixing: state['mixing'] as unknown as MixingState, settings: state['settings'] as Record<string, Json>, saes };
}

/** Checks the tensors and reads the small ones. */
async function readSae(folder: string, name: string, part: Fields, step: number): Promise<SavedSae> {
  const path = paths.join(folder, tensorFile(name));
  if (await fileDigest(path) !== part['tensors_sha256']) {
    throw new CochleaError('file-damaged', `${path} does not have the checksum that ${paths.join(folder, 'state.json')} gives`);
  }
  const means = await readTensors(path, (tensor) => meanNames.includes(tensor));
  const transform = (which: 'input' | 'target') => ({ mean: means.get(`${which}_mean`) as Float32Array, scale: Number(part[`${which}_scale`]) });
  return {
    input: means.has('target_mean') ? { ...transform('input'), target: transform('target') } : transform('input'),
    start: part['start'] as unknown as StartStatistics,
    state: async () => ({
      step, firedRows: Number(part['fired_rows']), firedRowsBefore: Number(part['fired_rows_before']), topkThreshold: Number(part['topk_threshold']), topkThresholdSteps: Number(part['topk_threshold_steps']),
      tensors: await readTensors(path, (tensor) => !meanNames.includes(tensor)),
    }),
  };
}

const meanNames = ['input_mean', 'target_mean'];

async function readTensors(path: string, wanted: (name: string) => boolean): Promise<Map<string, Float32Array | Uint32Array>> {
  const tensors = new Map<string, Float32Array | Uint32Array>();
  const file = await openSafetensors(path);
  try {
    for (const [name, { dtype }] of file.tensors) {
      if (!wanted(name)) continue;
      tensors.set(name, dtype === 'F32' ? await file.readFloat32(name) : Uint32Array.from(await file.readFloat64(name)));
    }
  } finally {
    await file.close();
  }
  return tensors;
}

/** Of what the JSON says, however it is laid out. */
function stateDigest(state: Fields): string {
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
