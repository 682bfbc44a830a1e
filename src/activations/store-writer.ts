import { CochleaError } from '../errors.ts';
import { dtypeBytes } from '../formats/dtype.ts';
import { runtime } from '../runtime/index.ts';
import { SoleLog } from '../runtime/sole-log.ts';
import { indexPath, manifestPath, maxShardElements, readIndex, readManifest, shardName, writeManifest } from './manifest.ts';
import type { IndexLine, Manifest } from './manifest.ts';
import { ShardStream } from './shard-stream.ts';
import { elementType, packShard, unpackShard } from './shard.ts';
import type { ShardClip, StoreDType } from './shard.ts';
import type { ActivationInfo, ComputedBy, TargetInfo } from './types.ts';

export interface ClipToStore {
  /** Unique in the store. */
  id: string;
  path: string;
  labels: Record<string, string>;
  /** SHA-256 of the recording. */
  sha256: string;
  seconds: number;
  /** [rows, dIn], without padding. */
  frames: Float32Array;
  /** [rows, dOut]; in a store with a second stream, and only there. */
  target?: Float32Array;
  rows: number;
}

export interface WriterOptions {
  dtype: StoreDType;
  /** Go on with what is in the folder, when something is. */
  resume: boolean;
  /** Size of a shard's frames, those of both streams together; 16 MiB unless told. */
  shardBytes?: number;
  /** Store a second stream, the target of each frame. */
  target?: TargetInfo;
}

const maxClipsPerShard = 1 << 14;

/**
 * Writes an activation store: `shard-000000.msgpack` ... with the frames, `shards.jsonl` with a line per finished shard,
 * `manifest.json`. A shard is written whole, then its line is appended; so whatever a kill leaves can be continued, and
 * the result is the same bytes as without the kill, provided that the clips come in the same order.
 *
 * Memory: one shard while it is filled and checked, and the ids of the clips (a Set: some 100 bytes per clip, up to 16
 * million clips), whatever the number of frames.
 */
export class ActivationWriter {
  readonly folder: string;
  readonly #manifest: Manifest;
  readonly #frames: ShardStream;
  readonly #target: ShardStream | undefined;
  /** Ids of clips that were taken: all of whose rows are on disk or in the shard being filled. */
  readonly #taken = new Set<string>();
  readonly #dataHash = runtime.sha256();
  #clips: ShardClip[] = [];
  #rows = 0;
  /** The clip of which the last shard on disk holds only the first rows, after resuming. */
  #unfinished: ShardClip | undefined;
  /** shards.jsonl: two writers in one folder would list their shards twice. */
  #index: SoleLog;
  /** After a failed write nobody knows what is on disk: only a new writer can tell. */
  #failure: unknown;

  private constructor(folder: string, manifest: Manifest) {
    const { dtype, info, targetInfo } = manifest;
    const rows = manifest.complete ? 0 : manifest.rowsPerShard;
    this.folder = folder;
    this.#index = new SoleLog(indexPath(folder), 0);
    this.#manifest = manifest;
    this.#frames = new ShardStream(info.dIn, rows, dtype);
    this.#target = targetInfo && new ShardStream(targetInfo.dOut, rows, dtype);
  }

  /**
   * Begins a store, or goes on with one. Throws `file-exists` when the folder has one and `resume` is false, `config`
   * when what it has is of another model, other hook points or dtype, `file-damaged` when it cannot be continued.
   */
  static async open(folder: string, info: Omit<ActivationInfo, 'dataSha256'>, options: WriterOptions): Promise<ActivationWriter> {
    const found = await readManifest(folder);
    if (found && !options.resume) {
      throw new CochleaError('file-exists', `${folder} holds activations already`, 'resume, or choose another folder');
    }
    if (found) {
      checkSame(folder, found, info, options);
      const writer = new ActivationWriter(folder, found);
      await writer.#readBack();
      return writer;
    }
    const { dtype, target } = options;
    const width = info.dIn + (target?.dOut ?? 0);
    const rowBytes = width * dtypeBytes[elementType(dtype)];
    const rowsPerShard = Math.max(1, Math.floor(Math.min((options.shardBytes ?? 16 << 20) / rowBytes, maxShardElements / width)));
    const writer = new ActivationWriter(folder, {
      complete: false, info: { ...info, dataSha256: '' }, targetInfo: target, dtype, rowsPerShard, shards: 0, clips: 0, rows: 0,
      statistics: undefined, targetStatistics: undefined,
    });
    await runtime.files.removePartials(folder, isOurs);
    await runtime.files.remove(indexPath(folder)); // without a manifest it is not a store's
    await writeManifest(folder, writer.#manifest);
    return writer;
  }

  /** True once finish() was called, in this run or an earlier one. */
  get complete(): boolean {
    return this.#manifest.complete;
  }

  /** Whether this clip needs not be added again. */
  has(id: string): boolean {
    return this.#taken.has(id);
  }

  /**
   * Adds a clip. Throws before anything of it is taken: `not-finite` for NaN, infinity, or a number beyond float16 in a
   * store of float16; `config` for an id that is there already, or, after resuming, when the clips come in another order. Throws `file-exists`,
   * and writes no more, once another process writes to the same store.
   */
  async addClip(clip: ClipToStore): Promise<void> {
    const { info: { dIn }, targetInfo } = this.#manifest;
    const { id, path, labels, sha256, seconds, frames, target, rows: clipRows } = clip;
    if (this.#failure) throw this.#failure;
    if (this.complete) {
      throw new CochleaError('file-exists', `${this.folder} is complete: clip "${id}" cannot be added`, 'use another folder');
    }
    if (frames.length !== clipRows * dIn) {
      throw new CochleaError('config', `clip "${id}" has ${frames.length} numbers, not ${clipRows} rows of ${dIn}`);
    }
    if (target && !targetInfo) throw new CochleaError('config', `clip "${id}" has a target, but ${this.folder} keeps none`);
    if (targetInfo && target?.length !== clipRows * targetInfo.dOut) {
      throw new CochleaError('config', `the target of clip "${id}" has ${target?.length ?? 0} numbers, not ${clipRows} rows of ${targetInfo.dOut}`);
    }
    if (this.#taken.has(id)) throw new CochleaError('config', `two clips have the id "${id}"`);
    this.#checkRange(clip, frames, dIn, 'activation');
    if (target) this.#checkRange(clip, target, targetInfo!.dOut, 'target activation');
    let from = 0;
    if (this.#unfinished) {
      const { firstRow, rows, ...begun } = this.#unfinished;
      if (begun.id !== id || begun.sha256 !== sha256 || begun.clipRows !== clipRows) {
        throw new CochleaError('config', `${this.folder} ends inside clip "${begun.id}", but "${id}" with ${clipRows} rows is given next`,
          'give the same recordings in the same order as before, or start over in another folder');
      }
      from = firstRow + rows;
      this.#unfinished = undefined;
    }
    do {
      const count = Math.min(clipRows - from, this.#manifest.rowsPerShard - this.#rows);
      this.#frames.put(frames, from, count, this.#rows);
      if (target) this.#target!.put(target, from, count, this.#rows);
      this.#rows += count;
      this.#clips.push({ id, path, labels, sha256, seconds, clipRows, firstRow: from, rows: count });
      from += count;
      if (from === clipRows) this.#taken.add(id);
      if (this.#rows === this.#manifest.rowsPerShard || this.#clips.length === maxClipsPerShard) await this.#flush();
    } while (from < clipRows);
  }

  /** Writes what is left and marks the store as complete. */
  async finish(): Promise<Manifest> {
    if (this.#failure) throw this.#failure;
    if (this.complete) return this.#manifest;
    if (this.#unfinished) {
      throw new CochleaError('config', `${this.folder} ends inside clip "${this.#unfinished.id}", which was not given again`,
        'give the same recordings in the same order as before');
    }
    if (this.#clips.length > 0) await this.#flush();
    await this.#index.check();
    Object.assign(this.#manifest, {
      complete: true, statistics: this.#frames.statistics(), targetStatistics: this.#target?.statistics(),
    });
    this.#manifest.info.dataSha256 = this.#dataHash.hex();
    await writeManifest(this.folder, this.#manifest);
    return this.#manifest;
  }

  #checkRange({ id, path }: ClipToStore, values: Float32Array, width: number, what: string): void {
    // Halfway between the largest float16 and the next power of two, numbers begin to round to infinity.
    const limit = this.#manifest.dtype === 'f16' ? 65520 : Infinity;
    for (let i = 0; i < values.length; i++) {
      if (Math.abs(values[i]!) < limit) continue;
      const where = `at ${(Math.floor(i / width) / this.#manifest.info.frameRate).toFixed(2)} s of clip "${id}" (${path})`;
      if (Number.isFinite(values[i]!)) {
        throw new CochleaError('not-finite', `${what} ${values[i]!.toPrecision(4)} ${where} does not fit float16`, 'store as f32');
      }
      throw new CochleaError('not-finite', `the ${what}s hold NaN or infinity ${where}`, 'leave this clip out');
    }
  }

  async #flush(): Promise<void> {
    const manifest = this.#manifest;
    const clips = this.#clips;
    const target = this.#target && { dOut: this.#target.width, ...this.#target.take(this.#rows) };
    const pieces = packShard({
      dIn: this.#frames.width, dtype: manifest.dtype, rows: this.#rows, clips, ...this.#frames.take(this.#rows), ...(target && { target }),
    });
    const hash = runtime.sha256();
    for (const piece of pieces) hash.update(piece);
    const file = shardName(manifest.shards);
    const line: IndexLine = {
      file, rows: this.#rows, bytes: pieces.reduce((sum, piece) => sum + piece.length, 0), sha256: hash.hex(),
      clips: clips.filter((clip) => clip.firstRow + clip.rows === clip.clipRows).map((clip) => [clip.id, clip.sha256]),
    };
    try {
      await this.#index.check();
      await runtime.files.write(runtime.paths.join(this.folder, file), pieces);
      await this.#index.append(`${JSON.stringify(line)}\n`);
    } catch (error) {
      this.#failure = error;
      throw error;
    }
    this.#count(line);
    this.#clips = [];
    this.#rows = 0;
  }

  #count(line: IndexLine): void {
    this.#manifest.shards++;
    this.#manifest.rows += line.rows;
    this.#manifest.clips += line.clips.length;
    for (const pair of line.clips) this.#dataHash.update(new TextEncoder().encode(`${JSON.stringify(pair)}\n`));
  }

  /** Takes up where an earlier writer was stopped: what shards.jsonl says, and the last shard. */
  async #readBack(): Promise<void> {
    const { folder } = this;
    const manifest = this.#manifest;
    let last: IndexLine | undefined;
    let end = 0;
    if (!manifest.complete) Object.assign(manifest, { shards: 0, clips: 0, rows: 0 });
    for await (const entry of readIndex(folder)) {
      for (const [id] of entry.line.clips) this.#taken.add(id);
      ({ line: last, end } = entry);
      if (manifest.complete) continue;
      this.#count(last);
      // Without it the store would be called complete, and its clips done.
      const path = runtime.paths.join(folder, last.file);
      const size = (await runtime.files.info(path))?.size;
      if (size !== last.bytes) {
        const found = size === undefined ? 'is not there' : `has ${size} bytes, not ${last.bytes}`;
        throw new CochleaError('file-damaged', `${path} ${found}, although ${indexPath(folder)} lists it`, 'bring it back, or start over in another folder');
      }
    }
    if (manifest.complete) return;
    await runtime.files.removePartials(folder, isOurs);
    await cutIndex(folder, end);
    this.#index = new SoleLog(indexPath(folder), end);
    if (!last) return;
    const path = runtime.paths.join(folder, last.file);
    const bytes = await runtime.files.read(path);
    const hash = runtime.sha256();
    hash.update(bytes);
    if (hash.hex() !== last.sha256) {
      throw new CochleaError('file-damaged', `${path} does not have the checksum that ${indexPath(folder)} gives`,
        'start over in another folder');
    }
    const shard = unpackShard(bytes, path);
    if (shard.dIn !== this.#frames.width || shard.target?.dOut !== this.#target?.width) {
      throw new CochleaError('file-damaged', `${path} does not hold the streams that ${manifestPath(folder)} says`, 'start over in another folder');
    }
    this.#frames.resume(shard.statisticsSoFar);
    if (shard.target) this.#target!.resume(shard.target.statisticsSoFar);
    const tail = shard.clips.at(-1);
    if (tail && tail.firstRow + tail.rows < tail.clipRows) this.#unfinished = tail;
  }
}

function checkSame(folder: string, found: Manifest, info: Omit<ActivationInfo, 'dataSha256'>, { dtype, target }: WriterOptions): void {
  const names = {
    model: 'model', modelSha256: 'model file', hook: 'hook', layer: 'layer', dIn: 'dIn', frameRate: 'frame rate', sampleRate: 'sample rate',
  } as const;
  const differences = (Object.keys(names) as (keyof typeof names)[])
    .filter((key) => found.info[key] !== info[key])
    .map((key) => `${names[key]} ${JSON.stringify(found.info[key])}, not ${JSON.stringify(info[key])}`);
  const nameTarget = (one: TargetInfo | undefined): string => (one ? `target hook ${JSON.stringify(one.hook)} with dOut ${one.dOut}` : 'no target hook');
  const [targetFound, targetGiven] = [nameTarget(found.targetInfo), nameTarget(target)];
  if (targetFound !== targetGiven) differences.push(`${targetFound}, not ${targetGiven}`);
  const nameProgram = (by: ComputedBy): string => `${by.package} ${by.version} (${by.provider})`;
  const [before, now] = [found.info.computedBy, info.computedBy];
  if (before && now && !found.complete && nameProgram(before) !== nameProgram(now)) differences.push(`frames by ${nameProgram(before)}, not ${nameProgram(now)}`);
  if (found.dtype !== dtype) differences.push(`dtype ${found.dtype}, not ${dtype}`);
  if (differences.length > 0) {
    throw new CochleaError('config', `cannot resume ${manifestPath(folder)}: it has ${differences.join('; ')}`,
      'use the same settings or another folder');
  }
}

/** Files of a store. */
const isOurs = (name: string): boolean => /^(shard-\d+\.msgpack|shards\.jsonl|manifest\.json)$/.test(name);

/** Shortens shards.jsonl to its first `length` bytes: a torn line goes away. */
async function cutIndex(folder: string, length: number): Promise<void> {
  const path = indexPath(folder);
  const size = (await runtime.files.info(path))?.size;
  if (size === undefined || size === length) return;
  const handle = await runtime.files.open(path);
  try {
    await runtime.files.write(path, (async function* () {
      for (let at = 0; at < length; at += 1 << 20) yield await handle.read(at, Math.min(1 << 20, length - at));
    })());
  } finally {
    await handle.close();
  }
}
