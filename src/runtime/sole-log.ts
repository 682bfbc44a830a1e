import { CochleaError } from '../errors.ts';
import { runtime } from './index.ts';

/**
 * A text file that one process appends to, beside other files that it makes: what another process appended shows in the length. Two that write to one
 * folder would leave a mixture under one name.
 */
export class SoleLog {
  readonly path: string;
  #bytes: number;

  /** `bytes`: its length now, 0 where there is no file. */
  constructor(path: string, bytes: number) {
    this.path = path;
    this.#bytes = bytes;
  }

  /** Throws `file-exists` once another process has written to the file: to be asked before other files of the folder are. */
  async check(): Promise<void> {
    const { files, paths } = runtime;
    const size = (await files.info(this.path))?.size ?? 0;
    if (size === this.#bytes) return;
    throw new CochleaError('file-exists', `another process writes to ${paths.dirname(this.path)}: ${this.path} has ${size} bytes, not ${this.#bytes}`, 'let it finish, or end it and resume');
  }

  /** Adds to the end. Throws as `check`, before and after: of two that append at the same moment neither may go on. */
  async append(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    await this.check();
    await runtime.files.append(this.path, bytes);
    this.#bytes += bytes.length;
    await this.check();
  }
}
