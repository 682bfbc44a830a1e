/** Models of the Hugging Face Hub, brought onto this disk for whoever opens models. */
import { chooseEncoderFile, externalFiles, knownModels } from '../../encoders/index.ts';
import { CochleaError } from '../../errors.ts';
import { type ConnectionOptions, type RemoteFile, type Snapshot, snapshot, type SnapshotProgress } from '../../hub/index.ts';
import { runtime } from '../../runtime/index.ts';

export interface LocateOptions extends ConnectionOptions {
  /** Ask nobody: take what is in the cache. HF_HUB_OFFLINE=1 says the same. */
  offline?: boolean | undefined;
  /** Also the decoder beside the encoder, where there is one. */
  decoder?: boolean | undefined;
  /** Told while files come. */
  onFetch?: ((progress: SnapshotProgress) => void) | undefined;
}

interface HubName {
  repo: string;
  revision: string | undefined;
  file: string | undefined;
  /** Written with hf: before it, so that nothing else can be meant. */
  certain: boolean;
}

/** Small files that say what a model takes and what its numbers mean. */
const besides = /^(config|generation_config|preprocessor_config|processor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|normalizer|cochlea-input)\.json$|^(vocab|merges)\.txt$|^(tokenizer|spiece)\.model$/;

const { basename } = runtime.paths;
const folderOf = (path: string): string => path.split('/').slice(0, -1).join('/');

/**
 * What `model` names, in the form in which encoders are opened. hf:ORG/NAME[@REVISION][:FILE], and without hf: where nothing of that name lies on this disk, is
 * a model of the Hub: its file comes into the cache that Python shares, pinned to a commit and compared with its hashes, with what belongs to it (external
 * weights, config.json and its like), and the path there is returned; `source` of the opened model tells the commit. FILE is onnx/encoder_model.onnx or the
 * next best unless told. All else is returned as it is.
 * Throws `usage` for a name that cannot be and where several files could be meant, `file-missing` for a repository without such a file, and what `snapshot` throws.
 */
export async function locateModel(model: string, options: LocateOptions = {}): Promise<string> {
  const name = await hubName(model);
  if (!name) return model;
  const { repo, revision, certain } = name;
  const { decoder = false, onFetch, ...asked } = options;
  let announced = false;
  const onProgress = (progress: SnapshotProgress): void => {
    if (!announced) options.onNotice?.(`fetching ${repo} from the Hub, once: ${(progress.total / 1e6).toFixed(1)} MB`);
    announced = true;
    onFetch?.(progress);
  };
  const bring = (at: string | undefined, select: (files: readonly RemoteFile[]) => RemoteFile[]): Promise<Snapshot> => snapshot(repo, { ...asked, onProgress, revision: at, select });

  let graphs: string[] = [];
  let listed: readonly RemoteFile[] = [];
  const select = (files: readonly RemoteFile[]): RemoteFile[] => {
    listed = files;
    const encoder = fileIn(files, name);
    graphs = [encoder, ...(decoder ? decodersOf(encoder, files) : [])];
    const folder = folderOf(encoder);
    return files.filter(({ path }) => graphs.includes(path) || (besides.test(basename(path)) && ['', folder, folderOf(folder)].includes(folderOf(path))));
  };
  const got = await bring(revision, select).catch((error: unknown) => {
    if (certain || !(error instanceof CochleaError) || error.code !== 'fetch') throw error;
    throw new CochleaError('fetch', `there is no file or folder ${model}, and of the Hub: ${error.message}`, error.hint, { cause: error.cause });
  });
  const place = (path: string): string => runtime.paths.join(got.folder, ...path.split('/'));
  const weights = new Set<string>();
  for (const graph of graphs) {
    // Only a look into the graph tells which files hold its weights; where there is none that could, the look is spared.
    if (!listed.some(({ path }) => path.startsWith(folderOf(graph)) && !path.endsWith('.onnx') && !besides.test(basename(path)))) continue;
    for (const location of await externalFiles(place(graph))) weights.add([folderOf(graph), ...location.split(/[/\\]/)].filter((part) => part !== '' && part !== '.').join('/'));
  }
  const lost = [...weights].find((path) => !listed.some((file) => file.path === path));
  if (lost !== undefined) throw new CochleaError('file-missing', `${repo} has no ${lost}, which holds weights of ${graphs[0]}`, 'tell those who published it, or name another file');
  if (weights.size > 0) await bring(got.revision, (files) => files.filter(({ path }) => weights.has(path)));
  return place(graphs[0]!);
}

/** Undefined for what is no model of the Hub. */
async function hubName(model: string): Promise<HubName | undefined> {
  const certain = model.startsWith('hf:');
  const parts = /^([\w.-]+(?:\/[\w.-]+)?)(?:@([^:]+))?(?::(.+))?$/.exec(certain ? model.slice(3) : model);
  if (certain && !parts) throw new CochleaError('usage', `${model} is no model of the Hub`, 'it is hf:ORG/NAME, with @REVISION and :FILE behind it or without');
  const [, repo, revision, file] = parts ?? [];
  if (repo === undefined) return undefined;
  if (certain) return { repo, revision, file, certain };
  const isLocal = !repo.includes('/') || repo.startsWith('.') || repo.endsWith('.onnx') || knownModels.some(({ name }) => name === model) || await runtime.files.info(model) !== undefined;
  return isLocal ? undefined : { repo, revision, file, certain };
}

/** The file of a repository that is meant. */
function fileIn(files: readonly RemoteFile[], { repo, file }: HubName): string {
  const paths = files.map(({ path }) => path);
  const graphs = paths.filter((path) => path.endsWith('.onnx'));
  const some = (list: readonly string[]): string => (list.length === 0 ? 'nothing' : list.slice(0, 12).join(', ') + (list.length > 12 ? ` and ${list.length - 12} more` : ''));
  if (file !== undefined) {
    if (paths.includes(file) && file.endsWith('.onnx')) return file;
    throw new CochleaError('file-missing', `${repo} has no ONNX file ${file}`, `it has ${some(graphs.length > 0 ? graphs : paths)}`);
  }
  if (graphs.length === 0) throw new CochleaError('file-missing', `${repo} has no .onnx file`, `it has ${some(paths)}; export it to ONNX, or look for a repository that holds the export`);
  const chosen = chooseEncoderFile(graphs);
  if (chosen === undefined) throw new CochleaError('usage', `${repo} has ${graphs.length} .onnx files`, `name one of them, as hf:${repo}:${graphs[0]}; there are ${some(graphs)}`);
  return chosen;
}

/** The decoder that belongs to an encoder_model*.onnx: merged or in two, in its precision or else in float32. */
function decodersOf(encoder: string, files: readonly RemoteFile[]): string[] {
  const [, folder = '', suffix = ''] = /^(.*\/)?encoder_model(.*)\.onnx$/.exec(encoder) ?? [];
  const named = (stem: string, ending: string): string[] => files.map(({ path }) => path).filter((path) => path === `${folder}${stem}${ending}.onnx`);
  for (const ending of new Set([suffix, ''])) {
    const merged = named('decoder_model_merged', ending);
    const found = merged.length > 0 ? merged : [...named('decoder_model', ending), ...named('decoder_with_past_model', ending)];
    if (found.length > 0) return found;
  }
  return [];
}
