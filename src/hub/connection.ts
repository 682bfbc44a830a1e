/** Talking to the Hub: every request of ours and of its library goes through one `fetch` that waits, tries again and says in one line what is wrong. */
import { CochleaError } from '../errors.ts';
import type { HubSettings } from './settings.ts';

export interface ConnectionOptions {
  signal?: AbortSignal | undefined;
  /** Told of every pause before another attempt. */
  onNotice?: ((line: string) => void) | undefined;
  /** How pauses are made; tests make none. Milliseconds. */
  wait?: ((milliseconds: number, signal: AbortSignal | undefined) => Promise<void>) | undefined;
}

export interface Connection extends Required<Pick<ConnectionOptions, 'wait'>> {
  readonly endpoint: string;
  /** The endpoint as people say it. */
  readonly host: string;
  readonly repo: string;
  readonly token: string | undefined;
  /** Seconds without a byte after which a connection counts as broken. */
  readonly patience: number;
  readonly signal: AbortSignal | undefined;
  /** Answers with what succeeded; throws CochleaError `fetch`, with a Refusal as its cause where the Hub answered, and `interrupted`. */
  readonly fetch: typeof fetch;
  /** Makes the pause before attempt `attempt + 1`, or throws `error` when there were enough. */
  again(attempt: number, error: CochleaError, seconds?: number): Promise<void>;
}

/** What the Hub answered in place of what was asked for. */
export interface Refusal {
  status: number;
  /** X-Error-Code: RepoNotFound, RevisionNotFound, EntryNotFound, GatedRepo, ... */
  code: string;
}

/** The status with which the Hub refused; undefined for any other error. */
export function refusalOf(error: unknown): Refusal | undefined {
  const cause = error instanceof CochleaError ? error.cause as Partial<Refusal> | undefined : undefined;
  return typeof cause?.status === 'number' ? cause as Refusal : undefined;
}

const attempts = 5;

/** The Hub counts requests in windows of five minutes; who must wait longer should hear of it. */
const longestWait = 300;

export const interrupted = (): CochleaError => new CochleaError('interrupted', 'stopped', 'run the command again: what has come is kept');

const pause = (milliseconds: number, signal: AbortSignal | undefined): Promise<void> => new Promise((resolve, reject) => {
  const stop = (): void => {
    clearTimeout(timer);
    reject(interrupted());
  };
  const timer = setTimeout(() => {
    signal?.removeEventListener('abort', stop);
    resolve();
  }, milliseconds);
  if (signal?.aborted) stop();
  else signal?.addEventListener('abort', stop, { once: true });
});

/** Opens no socket yet: a way to talk about one repository. */
export function connect(settings: HubSettings, repo: string, { signal, onNotice, wait = pause }: ConnectionOptions): Connection {
  const { endpoint, token, patience } = settings;
  const host = new URL(endpoint).host;
  const again = async (attempt: number, error: CochleaError, seconds = 2 ** (attempt - 1)): Promise<void> => {
    if (attempt >= attempts) throw error;
    if (seconds > longestWait) throw new CochleaError('fetch', `${error.message}, and not to ask again for ${seconds} seconds`, 'try again then', { cause: error.cause });
    onNotice?.(`${error.message}: trying again in ${seconds} s`);
    await wait(1000 * seconds, signal);
  };

  const hubFetch: typeof fetch = async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const method = init.method ?? 'GET';
    const headers = new Headers(init.headers);
    // Storage elsewhere gets addresses that are signed; the token is for the Hub alone.
    if (url.origin !== new URL(endpoint).origin) headers.delete('authorization');
    else if (token) headers.set('authorization', `Bearer ${token.value}`);
    // A commit whose answer was lost may have been made: only a clear "not now" is asked again.
    const isCommit = method === 'POST' && /\/commit\/[^/]+$/.test(url.pathname);
    for (let attempt = 1; ; attempt++) {
      if (signal?.aborted) throw interrupted();
      // What is sent may take as long as it takes; an answer must begin.
      const late = new AbortController();
      const timer = init.body == null ? setTimeout(() => late.abort(), 1000 * patience) : undefined;
      const signals = [late.signal, signal, init.signal].filter((one) => one != null);
      let response: Response;
      try {
        response = await fetch(url, { ...init, method, headers, signal: AbortSignal.any(signals) });
      } catch (error) {
        if (signal?.aborted) throw interrupted();
        if (init.signal?.aborted) throw error;
        const failure = unreachable(host, late.signal.aborted ? `no answer within ${patience} s` : reasonOf(error), error);
        if (isCommit) throw new CochleaError('fetch', failure.message, 'run the command again: what is there already is not sent again', { cause: error });
        await again(attempt, failure);
        continue;
      } finally {
        clearTimeout(timer);
      }
      if (response.ok) return response;
      const refusal = await refused(response, { host: url.host, endpoint, repo, token, method });
      const passing = response.status === 429 || response.status === 503 || (!isCommit && [408, 500, 502, 504].includes(response.status));
      if (!passing) throw refusal;
      await again(attempt, refusal, askedPause(response.headers));
    }
  };
  return { endpoint, host, repo, token: token?.value, patience, signal, wait, fetch: hubFetch, again };
}

export function unreachable(host: string, reason: string, cause: unknown): CochleaError {
  return new CochleaError('fetch', `cannot reach ${host}: ${reason}`, 'try again; without a network, --offline takes what is in the cache', { cause });
}

/** Why a fetch failed: Node hides it in the cause, and there in a list when it tried several addresses. */
export function reasonOf(error: unknown): string {
  const { cause, message } = error as Error & { cause?: Error & { code?: string; errors?: Error[] } };
  return oneLine(cause?.message || cause?.errors?.[0]?.message || cause?.code || message || 'the connection failed');
}

/** Text of a stranger's, fit for a terminal. */
function oneLine(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  return plain.length > 200 ? `${plain.slice(0, 200)}...` : plain;
}

/** Seconds that the answer asks to wait, by Retry-After or by the Hub's own RateLimit: "api";r=0;t=55. */
function askedPause(headers: Headers): number | undefined {
  const after = headers.get('retry-after')?.trim();
  if (after && /^\d+$/.test(after)) return Number(after);
  if (after) {
    // Against the server's own clock.
    const seconds = (Date.parse(after) - Date.parse(headers.get('date') ?? '')) / 1000;
    if (Number.isFinite(seconds)) return Math.max(0, Math.ceil(seconds));
  }
  const left = /;\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  return left === undefined ? undefined : Number(left);
}

interface Asked extends Pick<Connection, 'host' | 'endpoint' | 'repo'> {
  token: HubSettings['token'];
  method: string;
}

async function refused(response: Response, { host, endpoint, repo, token, method }: Asked): Promise<CochleaError> {
  const { status, headers } = response;
  const code = headers.get('x-error-code') ?? '';
  const said = headers.get('x-error-message') ?? await messageIn(response);
  const refusal: Refusal = { status, code };
  const error = (message: string, hint: string): CochleaError => new CochleaError('fetch', message, hint, { cause: refusal });
  if (status === 401 && token) return error(`${host} does not accept the token of ${token.from}`, `make a new one at ${endpoint}/settings/tokens`);
  if (status === 401) return error(`${host} shows ${repo} to nobody without a token`, 'check its name; if it is private or gated, set HF_TOKEN, or log in with `hf auth login`');
  if (code === 'GatedRepo') return error(`${repo} is gated`, `ask for access at ${endpoint}/${repo}${token ? '' : ', and set HF_TOKEN'}`);
  if (status === 403) return error(`${host} refuses ${repo}${about(said)}`, token ? `the token of ${token.from} needs the right to ${method === 'GET' ? 'read' : 'write'} it` : 'set HF_TOKEN');
  if (code === 'RevisionNotFound') return error(`${repo} has no such revision${about(said)}`, `see ${endpoint}/${repo}/commits/main`);
  if (status === 404 && code !== 'EntryNotFound') return error(`${host} has no repository ${repo}`, token ? 'check its name, and whose token it is' : 'check its name; if it is private, set HF_TOKEN');
  if (status === 409 || status === 412) return error(`${repo} was changed by somebody else meanwhile`, 'run the command again');
  if (status === 429) return error(`${host} asks to slow down`, 'try again later; with a token (HF_TOKEN) more is allowed');
  return error(`${host} answers ${status}${about(said)}`, status >= 500 ? 'try again later; what has come is kept' : 'see --verbose');
}

const about = (said: string): string => (said === '' ? '' : ` (${oneLine(said)})`);

async function messageIn(response: Response): Promise<string> {
  if (!response.headers.get('content-type')?.startsWith('application/json')) return '';
  try {
    const { error, message } = await response.json() as { error?: unknown; message?: unknown };
    return typeof error === 'string' ? error : typeof message === 'string' ? message : '';
  } catch {
    return '';
  }
}
