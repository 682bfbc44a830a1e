/** The recordings that a command is asked for, and what becomes of those that cannot be used. */
import { type Clip, listClips } from '../../audio/index.ts';
import { CochleaError, type ErrorCode } from '../../errors.ts';

export interface ClipOptions {
  /** Sound files, folders, manifests. */
  audio: string[];
  /** Only clips whose labels have these values. */
  select?: Record<string, string>;
  /** At most this many clips, spread evenly over what is left. */
  take?: number;
  /** Stop at the first recording that cannot be used, instead of skipping and counting it. */
  strict?: boolean;
}

/** The clips that are asked for, and what stood in the way of others. Throws what listClips throws, `file-missing` when none has the labels, and with `strict` `audio`. */
export async function chooseClips({ audio, select = {}, take = Infinity, strict = false }: ClipOptions): Promise<{ clips: Clip[]; problems: string[] }> {
  const listed = await listClips(audio);
  if (strict && listed.problems.length > 0) throw new CochleaError('audio', listed.problems[0]!, 'mend it, or leave --strict away');
  const wanted = Object.entries(select);
  const matching = listed.clips.filter(({ labels }) => wanted.every(([label, value]) => labels[label] === value));
  const clips = take >= matching.length ? matching : Array.from({ length: take }, (_, n) => matching[Math.floor((n * matching.length) / take)]!);
  if (clips.length === 0) {
    throw new CochleaError('file-missing', `none of ${listed.clips.length} clips has ${wanted.map(([label, value]) => `${label}=${value}`).join(' and ')}`, 'look at the labels in the manifest');
  }
  return { clips, problems: listed.problems };
}

/** Failures of one recording, which a long run survives. */
const skippable: readonly ErrorCode[] = ['audio', 'file-missing', 'file-damaged', 'file-system', 'not-finite'];

/** What a command could not use. */
export class Skipped {
  /** One line each. */
  readonly lines: string[] = [];
  readonly #strict: boolean;
  readonly #onNotice: ((line: string) => void) | undefined;

  constructor({ strict = false, onNotice }: { strict?: boolean; onNotice?: (line: string) => void }, problems: readonly string[] = []) {
    this.#strict = strict;
    this.#onNotice = onNotice;
    for (const line of problems) this.add(line);
  }

  add(line: string): void {
    this.lines.push(line);
    this.#onNotice?.(`skipped ${line}`);
  }

  /** What `work` makes of a clip; undefined when the recording is what failed and is skipped. With `strict` that is thrown, as all else is; every line says which file. */
  async unless<T>({ path }: Pick<Clip, 'path'>, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof CochleaError)) throw error;
      const line = error.message.includes(path) ? error.message : `${path}: ${error.message}`;
      if (this.#strict || !skippable.includes(error.code)) throw new CochleaError(error.code, line, error.hint, { cause: error });
      this.add(line);
      return undefined;
    }
  }
}
