/** Folders of frames that are no stores: datasets of Hugging Face, and tensor files. Ours have frames.json and clips.jsonl beside them. */
import { CochleaError } from '../errors.ts';
import { type MatrixFile, openNpy, openSafetensors } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import { isDatasetFolder, isObject, isPlainName, openDatasetFolder, readJson } from './dataset-folder.ts';
import { isInfo, isTargetInfo } from './manifest.ts';
import { closedFile, filesHash, type MatrixFrames, matrixSource } from './matrix-source.ts';
import { rowLabels, toldBy } from './tensor-source.ts';
import type { ActivationInfo, FrameSource, TargetInfo } from './types.ts';

const { files, paths } = runtime;

const format = 'cochlea frames';
const version = 1;

/** frames.json: where exported frames come from, and how they lie in the files. */
export interface FramesRecord {
  info: ActivationInfo;
  target?: TargetInfo;
  dtype: 'f32' | 'f16';
  /** Frames, and rows in the files that are padding. */
  frames: number;
  padding: number;
  /** Frames that did not fill a context. */
  dropped: number;
  /** Rows of a dataset's cell. */
  context?: number;
  /** In order; those of targets beside them. Of a dataset state.json lists them. */
  files: { file: string; target?: string }[];
}

export const clipTableName = 'clips.jsonl';

export async function writeFramesRecord(folder: string, record: FramesRecord): Promise<void> {
  await files.write(paths.join(folder, 'frames.json'), `${JSON.stringify({ format, version, ...record }, null, 2)}\n`);
}

async function readFramesRecord(folder: string): Promise<FramesRecord | undefined> {
  const path = paths.join(folder, 'frames.json');
  if (!await files.info(path)) return undefined;
  const record = await readJson(path) as unknown as FramesRecord & { format: unknown; version: unknown };
  if (record.format !== format || record.version !== version) throw new CochleaError('file-damaged', `${path} is not of format "${format}", version ${version}`);
  const isFile = (entry: unknown): boolean => isObject(entry) && isPlainName(entry['file']) && (entry['target'] === undefined || isPlainName(entry['target']));
  if (!isInfo(record.info) || (record.target !== undefined && !isTargetInfo(record.target)) || !Array.isArray(record.files) || !record.files.every(isFile)) {
    throw new CochleaError('file-damaged', `${path} has fields that cannot be`);
  }
  return record;
}

/**
 * Frames from a folder: a dataset saved by `save_to_disk` with one Array2D column, as SAELens caches activations (other columns, `token_ids` among
 * them, are passed over), or the .safetensors files (tensor `x`; `y` for targets; `clip` and `time` as of one file) or .npy files in it, in the order
 * of their names. Clips, moments and the second stream of a folder that cochlea exported are as in the store it came from. The files are read once
 * on opening, for their SHA-256. Throws `file-missing`, `file-damaged`, and `config` when `target` is asked for and there is none.
 */
export async function openFramesFolder(folder: string, { target = false }: { target?: boolean } = {}): Promise<FrameSource & { close(): Promise<void> }> {
  const record = await readFramesRecord(folder);
  const found = await isDatasetFolder(folder) ? await fromDataset(folder, record, target) : await fromTensors(folder, record, target);
  const { frames, hook, paths: sources } = found;
  const dIn = frames[0]?.columns ?? 0;
  const known = record?.info ?? { model: '', modelSha256: '', hook, layer: null, frameRate: 1, sampleRate: 0, ...found.told };
  if (record && record.info.dIn !== dIn) throw new CochleaError('file-damaged', `the frames in ${folder} have d_in ${dIn}, its frames.json says ${record.info.dIn}`);
  const rows = frames.reduce((sum, matrix) => sum + matrix.rows, 0);
  if (record && rows !== record.frames + record.padding) throw new CochleaError('file-damaged', `the files in ${folder} have ${rows} rows, its frames.json says ${record.frames + record.padding}`);
  const table = paths.join(folder, clipTableName);
  if (record && !await files.info(table)) throw new CochleaError('file-missing', `${folder} has a frames.json and no ${clipTableName}, which says whose the rows are and which are padding`, 'copy all of the exported folder');
  const source = await matrixSource({
    name: paths.basename(folder), path: folder, frames, ...found.labels, info: { ...known, dIn, dataSha256: await filesHash(sources) },
    ...(found.target && { target: { matrices: found.target, info: record?.target ?? { hook: `${known.hook}: y`, layer: null, dOut: found.target[0]!.columns } } }),
    ...(record && { clipTable: table }), close: async () => {},
  });
  // Rows of no clip are padding: a table that lost lines would lose frames.
  if (record && source.rows !== record.frames) throw new CochleaError('file-damaged', `${table} gives ${source.rows} rows to clips, ${folder} has ${record.frames} frames by its frames.json`, 'copy the exported folder again');
  return source;
}

interface Found {
  hook: string;
  frames: MatrixFile[];
  target?: MatrixFile[];
  labels?: Pick<MatrixFrames, 'clip' | 'time'>;
  /** What the files tell, none of which contradicts another. */
  told?: Partial<ActivationInfo>;
  paths: readonly string[];
}

const without = (folder: string): CochleaError => new CochleaError('config', `the activations in ${folder} have no targets`, 'extract them with --target-hook, and export them anew');

async function fromDataset(folder: string, record: FramesRecord | undefined, target: boolean): Promise<Found> {
  const dataset = await openDatasetFolder(folder);
  const named = (hook: string) => {
    const column = dataset.columns.find(({ name }) => name === hook);
    if (!column) throw new CochleaError('file-damaged', `${folder} has no column ${JSON.stringify(hook)}, which its frames.json names`);
    return column;
  };
  if (target && !record?.target) throw without(folder);
  if (!record && dataset.columns.length > 1) {
    throw new CochleaError('usage', `${folder} has ${dataset.columns.length} columns of activations: ${dataset.columns.map(({ name }) => JSON.stringify(name)).join(', ').slice(0, 200)}`, 'save it with one of them: dataset.select_columns');
  }
  const column = record ? named(record.info.hook) : dataset.columns[0]!;
  return {
    hook: column.name, frames: await dataset.matrices(column), paths: dataset.files,
    ...(target && { target: await dataset.matrices(named(record!.target!.hook)) }),
  };
}

async function fromTensors(folder: string, record: FramesRecord | undefined, target: boolean): Promise<Found> {
  const names = record?.files ?? (await files.list(folder)).filter((name) => /\.(safetensors|npy)$/i.test(name) && !name.startsWith('.')).map((file) => ({ file }));
  if (names.length === 0) throw new CochleaError('file-missing', `there are no activations in ${folder}: neither manifest.json (a store), state.json (a dataset) nor .safetensors or .npy files`);
  if (new Set(names.map(({ file }) => paths.extname(file).toLowerCase())).size > 1) throw new CochleaError('usage', `${folder} has .safetensors and .npy files`, 'name a folder with one kind');
  if (target && record && !record.target) throw without(folder);
  const found = { hook: paths.basename(folder), frames: [] as MatrixFile[], target: [] as MatrixFile[], clip: [] as MatrixFile[], time: [] as MatrixFile[], paths: [] as string[] };
  const told = new Told();
  const labelled: string[] = [], bare: string[] = [];
  for (const { file, target: targetFile } of names as FramesRecord['files']) {
    const path = paths.join(folder, file);
    found.paths.push(path);
    const { matrix, labels, told: here } = await oneFile(path, 'x');
    told.add(path, here);
    (labels.clip ? labelled : bare).push(path);
    found.frames.push(matrix);
    found.clip.push(...labels.clip ?? []);
    found.time.push(...labels.time ?? []);
    if (!target) continue;
    if (targetFile === undefined && /\.npy$/i.test(file)) throw without(folder);
    const of = targetFile === undefined ? path : paths.join(folder, targetFile);
    if (of !== path) found.paths.push(of);
    found.target.push((await oneFile(of, 'y')).matrix);
  }
  if (labelled.length > 0 && bare.length > 0) throw unlike(`${labelled[0]} says by \`clip\` and \`time\` whose its rows are`, `${bare[0]} does not`);
  const { hook, frames, clip, time } = found;
  return {
    hook, frames, paths: found.paths, told: told.all, ...(target && { target: found.target }), ...(labelled.length > 0 && { labels: { clip, time } }),
  };
}

const unlike = (one: string, other: string): CochleaError => (
  new CochleaError('file-damaged', `${one}, ${other}`, 'a folder is one stream of frames: put files of another kind into a folder of their own'));

/** What files tell of their frames, all together. */
class Told {
  readonly all: Partial<ActivationInfo> = {};
  readonly #from: Partial<Record<keyof ActivationInfo, string>> = {};

  /** Throws `file-damaged` for what another file tells otherwise; an empty text tells nothing. */
  add(path: string, { model, hook, frameRate }: Partial<ActivationInfo>): void {
    const said = [['model', model, 'model'], ['hook', hook, 'hook'], ['frameRate', frameRate, 'frame rate']] as const;
    for (const [key, value, name] of said) {
      if (value === undefined || (value === '' && key in this.all)) continue;
      const before = this.all[key] || undefined;
      if (before !== undefined && before !== value) throw unlike(`${this.#from[key]} has the ${name} ${quoted(before)}`, `${path} ${quoted(value)}`);
      Object.assign(this.all, { [key]: value });
      this.#from[key] = path;
    }
  }
}

const quoted = (value: string | number): string => JSON.stringify(value).slice(0, 80);

/** The frames of one tensor file, which is not kept open. */
async function oneFile(path: string, tensor: string): Promise<{ matrix: MatrixFile; labels: ReturnType<typeof rowLabels>; told: Partial<ActivationInfo> }> {
  const file = /\.npy$/i.test(path) ? await openNpy(path) : await openSafetensors(path);
  try {
    const matrix = { ...file.matrix(tensor), handle: await closedFile(path) };
    if (matrix.columns === 0) throw new CochleaError('file-damaged', `${path} holds no frames: its shape is [${matrix.rows}, 0]`);
    return 'tensors' in file ? { matrix, labels: rowLabels(file, matrix), told: toldBy(file) } : { matrix, labels: {}, told: {} };
  } finally {
    await file.close();
  }
}
