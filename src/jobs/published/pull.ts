/** Published SAEs from the Hub onto this disk: by the name of a release, or from any repository. */
import { CochleaError } from '../../errors.ts';
import type { Gpu } from '../../gpu/index.ts';
import { type ConnectionOptions, listRepository, type RemoteFile, type Snapshot, snapshot, type SnapshotProgress } from '../../hub/index.ts';
import { loadPretrainedFolder, type LoadOptions, releases, type ResolvedSae, resolveSae } from '../../pretrained/index.ts';
import { runtime } from '../../runtime/index.ts';
import type { SAE } from '../../sae/index.ts';

export interface PullOptions extends ConnectionOptions {
  /** The SAE of the release or repository; need not be told where there is only one. */
  id?: string | undefined;
  /** All SAEs of a repository. */
  all?: boolean | undefined;
  /** Branch, tag or commit, where the name has none behind an @. */
  revision?: string | undefined;
  offline?: boolean | undefined;
  onProgress?: ((progress: SnapshotProgress) => void) | undefined;
}

export interface PullResult {
  repo: string;
  /** The commit. */
  revision: string;
  /** The snapshot: the repository's root. */
  root: string;
  /** Where the SAE is in it: its folder, or its file where a folder holds many; '' for the root itself, and where several SAEs were asked for. */
  path: string;
  /** The same as a path of this disk. */
  folder: string;
  files: readonly RemoteFile[];
  /** Bytes that were not in the cache before. */
  downloaded: number;
  licence: string | null;
  /** How readPretrained reads it. */
  options: LoadOptions;
}

/**
 * Brings what an SAE needs, and no more, into the Hub's cache. `name` is a release of the registry, or ORGANISATION/NAME of a repository, with @REVISION or without.
 * Throws `usage` for a name or id that nobody has, and what `snapshot` throws.
 */
export async function pull(name: string, options: PullOptions = {}): Promise<PullResult> {
  const { repo, revision } = parsed(name, options.revision);
  const resolved = resolveSae(repo, options.id);
  return resolved ? pullResolved(resolved, { ...options, revision }) : pullFrom(repo, { ...options, revision });
}

async function pullResolved(resolved: ResolvedSae, options: PullOptions): Promise<PullResult> {
  const { repo, path, files: { needed, optional } } = resolved;
  const select = (all: readonly RemoteFile[]): RemoteFile[] => {
    const lost = needed.find((file) => !all.some((one) => one.path === file));
    if (lost !== undefined) throw new CochleaError('file-missing', `${repo} has no ${lost}`, 'it may have been moved; --revision takes an older commit');
    return all.filter((one) => needed.includes(one.path) || optional.includes(one.path));
  };
  return placed(repo, path, await snapshot(repo, { ...options, select }), resolved.licence, resolved.options);
}

async function pullFrom(repo: string, options: PullOptions): Promise<PullResult> {
  const { all = false, id } = options;
  if (all && id !== undefined) throw new CochleaError('usage', `${id} and --all exclude each other`, 'give one of them');
  let path = '';
  const select = (files: readonly RemoteFile[]): RemoteFile[] => {
    const saes = saesIn(files);
    const chosen = id === undefined ? saes : saes.filter((sae) => sae.id === id.replace(/\/+$/, ''));
    if (saes.length === 0) throw new CochleaError('file-missing', `no file of ${repo} looks like an SAE's`, `it has ${files.slice(0, 8).map((file) => file.path).join(', ') || 'nothing'}`);
    if (chosen.length === 0) throw new CochleaError('usage', `${repo} has no SAE ${JSON.stringify(id)}`, some(repo, saes));
    if (chosen.length > 1 && !all) throw new CochleaError('usage', `${repo} has ${saes.length} SAEs`, `${some(repo, saes)}; --all brings all of them`);
    if (chosen.length === 1 && chosen[0]!.id !== '.') path = chosen[0]!.id;
    return [...new Set(chosen.flatMap((sae) => sae.files))];
  };
  const got = await snapshot(repo, { ...options, select });
  return placed(repo, path, got, null, {});
}

function placed(repo: string, path: string, got: Snapshot, licence: string | null, options: LoadOptions): PullResult {
  const { folder: root, revision, files, downloaded } = got;
  return { repo, revision, root, path, folder: path === '' ? root : runtime.paths.join(root, ...path.split('/')), files, downloaded, licence: got.licence ?? licence, options };
}

const some = (repo: string, saes: readonly { id: string }[]): string => `name one, such as ${saes.slice(0, 3).map(({ id }) => id).join(', ')} (cochlea pull ${repo} --list shows all)`;

function parsed(name: string, given: string | undefined): { repo: string; revision: string | undefined } {
  const at = name.indexOf('@');
  if (at >= 0 && given !== undefined && given !== name.slice(at + 1)) throw new CochleaError('usage', `${name} and --revision ${given} are two revisions`, 'give one of them');
  const repo = at < 0 ? name : name.slice(0, at);
  if (!repo.includes('/') && !Object.hasOwn(releases, repo)) throw new CochleaError('usage', `no release is known as '${repo}'`, '`cochlea pull --list` shows those that are; a repository is ORGANISATION/NAME');
  return { repo, revision: at < 0 ? given : name.slice(at + 1) };
}

export interface ListedSae {
  /** What `pull` takes. */
  id: string;
  files: RemoteFile[];
}

/** The SAEs of a repository of the Hub, as far as the names of its files tell. */
export async function listSaes(name: string, options: PullOptions = {}): Promise<{ repo: string; revision: string; licence: string | null; saes: ListedSae[] }> {
  const { repo: named, revision: wanted } = parsed(name, options.revision);
  const release = Object.hasOwn(releases, named) ? releases[named]! : undefined;
  if (release?.repo === null) throw new CochleaError('fetch', `the repository of ${named} is not known here`, 'give its name on the Hub in the place of the release');
  const repo = release?.repo ?? named;
  const { revision, licence, files } = await listRepository(repo, { ...options, revision: wanted });
  return { repo, revision, licence: licence ?? release?.licence ?? null, saes: saesIn(files) };
}

/** Weights that lie in a folder of their own, one SAE each; any other file of tensors is an SAE by itself. */
const folderWeights = /(^|\/)(sae_weights\.safetensors|sae\.safetensors|params\.npz|ae\.pt|checkpoints\/final\.safetensors)$/;
const tensorFile = /\.(safetensors|npz|pt)$/;
/** Tensors that are no SAE: what belongs to one, and the state of a training run, which nobody needs who uses it. */
const besides = /(^|\/)(sparsity|input_mean|activations_store_state|.*optimi[sz]er.*|trainer_state|training_args|scheduler)\.\w+$/;
const belonging = /(^|\/)(sparsity|input_mean)\.safetensors$/;
const settings = /\.(json|ya?ml)$/;

function saesIn(files: readonly RemoteFile[]): ListedSae[] {
  const parent = (path: string): string => path.split('/').slice(0, -1).join('/');
  const byFolder = new Map<string, RemoteFile[]>();
  for (const file of files) byFolder.set(parent(file.path), [...byFolder.get(parent(file.path)) ?? [], file]);
  const configs = (folder: string): RemoteFile[] => (byFolder.get(folder) ?? []).filter(({ path }) => settings.test(path) || belonging.test(path));
  return files.filter(({ path }) => tensorFile.test(path) && !besides.test(path)).map((file): ListedSae => {
    const { path } = file;
    if (!folderWeights.test(path)) return { id: path, files: [...configs(parent(path)).filter((one) => settings.test(one.path)), file] };
    const folder = path.endsWith('checkpoints/final.safetensors') ? parent(parent(path)) : parent(path);
    return { id: folder === '' ? '.' : folder, files: [...configs(folder), file] };
  });
}

/**
 * A published SAE, ready to be used: `pull`, and whatever reads its family. `notes` are what whoever uses it has to know.
 * Throws what these throw.
 */
export async function fromPretrained(gpu: Gpu, name: string, id?: string, options: Omit<PullOptions, 'id' | 'all'> & LoadOptions = {}): Promise<{ sae: SAE; notes: string[]; revision: string }> {
  const { root, path, revision, options: known } = await pull(name, { ...options, id });
  return { ...await loadPretrainedFolder(gpu, root, path === '' ? undefined : path, { ...known, ...options }), revision };
}
