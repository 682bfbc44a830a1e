/**
 * The folder that `datasets.Dataset.save_to_disk` writes and SAELens' cached activations are: dataset_info.json with the features, state.json with
 * the files, data-00000-of-00001.arrow ... with a column of matrices [context, dIn], an Array2D, under the name of the hook point.
 */
import { CochleaError } from '../errors.ts';
import { readArrowMatrices } from '../formats/arrow.ts';
import type { ArrowColumn } from '../formats/arrow-writer.ts';
import type { MatrixFile } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import { closedFile } from './matrix-source.ts';

const { files, paths } = runtime;

const maxJsonBytes = 16 << 20;

/** Reads a JSON file of at most 16 MiB. Throws `file-missing`, `file-damaged`. */
export async function readJson(path: string): Promise<Record<string, unknown>> {
  const size = (await files.info(path))?.size ?? 0;
  if (size > maxJsonBytes) throw new CochleaError('file-damaged', `${path} has ${size} bytes, more than such a file can need`);
  let value: unknown;
  try {
    value = JSON.parse(await files.readText(path));
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw new CochleaError('file-damaged', `${path} is not JSON`);
  }
  if (!isObject(value)) throw new CochleaError('file-damaged', `${path} is not a JSON object`);
  return value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A name in a folder that leads nowhere else. */
export function isPlainName(name: unknown): name is string {
  return typeof name === 'string' && name !== '' && name !== '.' && name !== '..' && !/[/\\\x00-\x1f]/.test(name);
}

/** A column of matrices. */
export interface DatasetColumn {
  name: string;
  shape: [number, number];
}

export interface DatasetFolder {
  /** All Array2D columns, in order. */
  readonly columns: readonly DatasetColumn[];
  /** The Arrow files. */
  readonly files: readonly string[];
  /** All rows of a column, cell after cell: a matrix for each record batch. */
  matrices(column: DatasetColumn): Promise<MatrixFile[]>;
}

/** Whether this is a folder of one dataset. Throws `file-damaged`, with what to do, for a folder of several splits. */
export async function isDatasetFolder(folder: string): Promise<boolean> {
  if (await files.info(paths.join(folder, 'dataset_dict.json'))) {
    throw new CochleaError('usage', `${folder} holds several datasets`, 'name one of the folders in it');
  }
  return await files.info(paths.join(folder, 'state.json')) !== undefined;
}

/** Reads the two JSON files; Arrow files are opened by matrices(). Throws `file-missing`, `file-damaged`. */
export async function openDatasetFolder(folder: string): Promise<DatasetFolder> {
  const infoPath = paths.join(folder, 'dataset_info.json'), statePath = paths.join(folder, 'state.json');
  const features = (await readJson(infoPath))['features'];
  const state = await readJson(statePath);
  const listed = Array.isArray(state['_data_files']) ? state['_data_files'].map((entry) => (isObject(entry) ? entry['filename'] : undefined)) : [];
  if (listed.length === 0 || !listed.every(isPlainName)) throw new CochleaError('file-damaged', `${statePath} does not list the dataset's files in \`_data_files\``);
  if (Array.isArray(state['_indices_data_files'])) throw new CochleaError('file-damaged', `${folder} has its rows in an order of its own (an indices mapping)`, 'save it after flatten_indices()');
  if (!isObject(features)) throw new CochleaError('file-damaged', `${infoPath} has no features`);
  const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && (size as number) > 0 && (size as number) < 2 ** 31;
  const columns: DatasetColumn[] = [];
  for (const [name, feature] of Object.entries(features)) {
    if (!isObject(feature) || feature['_type'] !== 'Array2D') continue;
    const shape = feature['shape'];
    if (!Array.isArray(shape) || shape.length !== 2 || !shape.every(isSize)) throw new CochleaError('file-damaged', `${infoPath}: the shape of ${JSON.stringify(name)} is ${JSON.stringify(shape)?.slice(0, 80)}`);
    columns.push({ name, shape: [shape[0] as number, shape[1] as number] });
  }
  if (columns.length === 0) {
    throw new CochleaError('file-damaged', `${folder} has no column of activations (Array2D) among ${Object.keys(features).slice(0, 12).map((name) => JSON.stringify(name)).join(', ') || 'none'}`);
  }
  const arrowFiles = listed.map((name) => paths.join(folder, name as string));
  return {
    columns, files: arrowFiles,
    async matrices({ name, shape }) {
      const found: MatrixFile[] = [];
      for (const path of arrowFiles) for (const matrix of await readArrowMatrices(await closedFile(path), path, name, shape)) found.push(matrix);
      return found;
    },
  };
}

/** Writes dataset_info.json and state.json. `columns`: as in the Arrow files. The fingerprint names the content in Python's cache. */
export async function writeDatasetFiles(folder: string, columns: readonly ArrowColumn[], arrowFiles: readonly string[], fingerprint: string): Promise<void> {
  const feature = ({ shape, dtype }: ArrowColumn): unknown => (shape.length === 2
    ? { shape, dtype: dtype === 'F16' ? 'float16' : 'float32', _type: 'Array2D' }
    : { feature: { dtype: 'int32', _type: 'Value' }, _type: 'Sequence' }); // `List` since datasets 4, which reads `Sequence` too
  const info = { citation: '', description: '', features: Object.fromEntries(columns.map((column) => [column.name, feature(column)])), homepage: '', license: '' };
  const state = {
    _data_files: arrowFiles.map((filename) => ({ filename })), _fingerprint: fingerprint, _format_columns: null, _format_kwargs: {}, _format_type: null,
    _output_all_columns: false, _split: null,
  };
  await files.write(paths.join(folder, 'dataset_info.json'), `${JSON.stringify(info, null, 2)}\n`);
  await files.write(paths.join(folder, 'state.json'), `${JSON.stringify(state, null, 2)}\n`);
}
