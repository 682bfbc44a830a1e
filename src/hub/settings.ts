/** Where the Hub is, who asks, and where its files are kept: the environment variables and folders of Python's huggingface_hub. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** The token, and where it comes from, to name it in messages. */
  readonly token: { value: string; from: string } | undefined;
  readonly cacheFolder: string;
  readonly offline: boolean;
  /** Seconds without a byte after which a connection counts as broken. */
  readonly patience: number;
}

const isTrue = (value: string | undefined): boolean => ['1', 'ON', 'YES', 'TRUE'].includes((value ?? '').toUpperCase());

function homeFolder(): string {
  const home = runtime.environment('HOME') ?? runtime.environment('USERPROFILE');
  if (!home) throw new CochleaError('config', 'neither HOME nor USERPROFILE is set', 'set HF_HOME to a folder for the Hub\'s files');
  return home;
}

const expanded = (path: string): string => (/^~(?=[/\\]|$)/.test(path) ? homeFolder() + path.slice(1) : path);

/** HF_HOME, by which a person moves all that the Hub's libraries keep. */
function hubHome(): string {
  const { environment, paths } = runtime;
  const chosen = environment('HF_HOME');
  if (chosen) return expanded(chosen);
  return paths.join(expanded(environment('XDG_CACHE_HOME') || paths.join(homeFolder(), '.cache')), 'huggingface');
}

async function findToken(): Promise<HubSettings['token']> {
  const { environment, files, paths } = runtime;
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const value = environment(name)?.trim();
    if (value) return checked(value, name);
  }
  const path = expanded(environment('HF_TOKEN_PATH') || paths.join(hubHome(), 'token'));
  const value = await files.info(path) === undefined ? '' : (await files.readText(path)).trim();
  return value === '' ? undefined : checked(value, path);
}

function checked(value: string, from: string): { value: string; from: string } {
  // What else is in there is more likely a mistake than a secret of the Hub, and must not travel in a header.
  if (!/^hf_[\w.~+/=-]+$/.test(value)) throw new CochleaError('config', `what ${from} holds is no token of the Hub`, 'tokens begin with hf_; make one at https://huggingface.co/settings/tokens');
  return { value, from };
}

/** Reads the environment. Throws `runtime` in a browser tab, `config` for an impossible setting. */
export async function hubSettings(): Promise<HubSettings> {
  if (runtime.name === 'browser') throw new CochleaError('runtime', 'files of the Hub are kept on disk, which a browser tab has not', 'run this in Node or Deno');
  const { environment, paths } = runtime;
  const endpoint = (environment('HF_ENDPOINT') || 'https://huggingface.co').replace(/\/+$/, '');
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) throw new CochleaError('config', `HF_ENDPOINT is ${JSON.stringify(endpoint)}`, 'it must be an http address');
  const patience = Number(environment('HF_HUB_DOWNLOAD_TIMEOUT') || 30);
  if (!(patience > 0 && patience < 86_400)) throw new CochleaError('config', `HF_HUB_DOWNLOAD_TIMEOUT is ${JSON.stringify(environment('HF_HUB_DOWNLOAD_TIMEOUT'))}`, 'it must be a number of seconds');
  return {
    endpoint, patience,
    token: await findToken(),
    cacheFolder: paths.resolve(expanded(environment('HF_HUB_CACHE') || environment('HUGGINGFACE_HUB_CACHE') || paths.join(hubHome(), 'hub'))),
    offline: isTrue(environment('HF_HUB_OFFLINE')),
  };
}
