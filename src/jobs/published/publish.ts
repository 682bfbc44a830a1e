/** SAEs from folders of this disk into a repository of the Hub. */
import { CochleaError } from '../../errors.ts';
import { readSaelensFolder } from '../../formats/index.ts';
import { commitFiles, type ConnectionOptions, type LocalFile, lookAt, type PlannedFile, planUpload, type RemoteState, remoteText } from '../../hub/index.ts';
import { runtime } from '../../runtime/index.ts';
import { inputMeanFile } from '../../training/index.ts';
import { modelCard, readFacts, type SaeFacts } from './model-card.ts';

const { files, paths } = runtime;

export interface PublishOptions extends ConnectionOptions {
  /** Folders of SAEs, or of runs of many SAEs. */
  folders: readonly string[];
  /** USER/NAME. */
  repo: string;
  /** `main` unless told. */
  branch?: string | undefined;
  /** Of the commit. */
  message?: string | undefined;
  /** Of a new repository; private unless told. */
  visibility?: 'private' | 'public' | undefined;
  licence?: string | undefined;
  datasets?: readonly string[] | undefined;
  baseModel?: string | undefined;
  /** Do everything but write: nothing is made and nothing sent. */
  dryRun?: boolean | undefined;
  /** With dryRun: ask nobody, as if the repository were not there. */
  offline?: boolean | undefined;
  onProgress?: ((progress: { path: string; share: number; state: 'hashing' | 'uploading' | 'error' }) => void) | undefined;
}

export interface PublishResult {
  repo: string;
  /** Whether the repository was, or would be, made. */
  creates: boolean;
  /** Undefined where nobody was asked. */
  private: boolean | undefined;
  files: PlannedFile[];
  /** Text of README.md. */
  card: string;
  /** Undefined when all was there already, or nothing was to be sent. */
  commit: string | undefined;
  url: string | undefined;
}

const weightsFile = 'sae_weights.safetensors';

/**
 * Publishes SAEs in SAELens' layout, one folder each under its own name, with a model card. Only what the repository does not have is sent, so that a call that
 * was interrupted can be made again. Every SAE is read and checked before anything is asked or sent.
 * Throws `usage`, `file-missing`, `file-damaged`, `config` for a folder that is no SAE; `not-finite` for weights with NaN or infinity; `fetch`, `interrupted`.
 */
export async function publish(options: PublishOptions): Promise<PublishResult> {
  const { repo, branch = 'main', dryRun = false, offline = false, signal, visibility = 'private' } = options;
  if (!/^[^/]+\/[^/]+$/.test(repo)) throw new CochleaError('usage', `${JSON.stringify(repo)} is no repository to publish to`, 'it is USER/NAME or ORGANISATION/NAME');
  if (offline && !dryRun) throw new CochleaError('usage', 'nothing can be published without a network', 'give --dry-run to see what would go up');
  const folders = await findSaes(options.folders);
  const saes: SaeFacts[] = [], local: LocalFile[] = [];
  for (const [name, folder] of folders) {
    saes.push(await checkedFacts(folder, name));
    for (const file of ['cfg.json', weightsFile, 'sparsity.safetensors', inputMeanFile, 'runner_cfg.json']) {
      const path = paths.join(folder, file);
      if (await files.info(path)) local.push({ path: `${name}/${file}`, file: path });
    }
  }
  const remote: RemoteState = offline ? { exists: false, hasBranch: false, files: new Map() } : await lookAt(repo, options);
  const card = modelCard({ ...options, saes }, await remoteText(repo, remote, 'README.md', options));
  local.unshift({ path: 'README.md', text: card });
  const planned = await planUpload(local, remote, signal);
  const result = { repo, creates: !remote.exists, private: offline ? undefined : remote.exists ? remote.private : visibility === 'private', files: planned, card };
  if (dryRun) return { ...result, commit: undefined, url: undefined };
  const message = options.message ?? `Add ${saes.map(({ name }) => name).join(', ')}`.slice(0, 200);
  const done = await commitFiles(repo, local, planned, remote, { ...options, branch, visibility, message });
  return { ...result, commit: done?.commit, url: done?.url };
}

/** The folder in the repository of every SAE, and its folder here: a folder with a cfg.json is one, one of a run of many has several below it. */
async function findSaes(folders: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const folder of folders) {
    if (!(await files.info(folder))?.isDirectory) throw new CochleaError('file-missing', `no such folder: ${folder}`);
    const isSae = async (path: string): Promise<boolean> => await files.info(paths.join(path, 'cfg.json')) !== undefined;
    const inside: string[] = [];
    if (await isSae(folder)) inside.push(folder);
    else for (const name of await files.list(folder)) if (await isSae(paths.join(folder, name))) inside.push(paths.join(folder, name));
    if (inside.length === 0) throw new CochleaError('file-missing', `${folder} is no SAE: there is no cfg.json in it`, 'give the folder that `cochlea train --out` wrote');
    for (const path of inside) {
      const name = paths.basename(paths.resolve(path));
      if (!/^\w[\w.-]*$/.test(name)) throw new CochleaError('usage', `${path} cannot be published under its name`, 'rename the folder: letters, digits, -, _ and . are possible');
      if (found.has(name)) throw new CochleaError('usage', `two of the folders are called ${name}`, 'rename one: each becomes a folder of the repository');
      found.set(name, path);
    }
  }
  return found;
}

async function checkedFacts(folder: string, name: string): Promise<SaeFacts> {
  const { config, tensors } = await readSaelensFolder(folder);
  for (const [tensor, { data }] of tensors) {
    let bad = 0;
    for (const value of data) if (!Number.isFinite(value)) bad++;
    if (bad > 0) throw new CochleaError('not-finite', `${paths.join(folder, weightsFile)}: ${bad} of the ${data.length} numbers of ${tensor} are NaN or infinite`, 'such an SAE is of no use to anybody; train it again with a lower learning rate');
  }
  return readFacts(folder, name, config);
}
