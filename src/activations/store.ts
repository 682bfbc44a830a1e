import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { FrameArray } from './halves.ts';
import { indexPath, manifestPath, parseIndexLine, readIndex, readManifest } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import { readAhead } from './read-ahead.ts';
import { decodeFrames, unpackShard } from './shard.ts';
import type { Shard, StoreDType } from './shard.ts';
import type { FrameStatistics } from './statistics.ts';
import type { ActivationInfo, ChunkOrder, FrameChunk, FrameSource, TargetInfo } from './types.ts';

/**
 * Reads an activation store; a chunk is a shard. Memory: the shard in use and the one being read ahead (16 MiB each as they are stored; as
 * numbers 48 MiB while one is decoded from float16, 32 MiB after), and 13 bytes per shard for its place in shards.jsonl and in an epoch.
 */
export class ActivationStore implements FrameSource {
  readonly folder: string;
  readonly dIn: number;
  readonly info: ActivationInfo;
  readonly rows: number;
  readonly dOut?: number;
  readonly targetInfo?: TargetInfo;
  readonly targetStatistics?: () => Promise<FrameStatistics>;
  readonly halves?: NonNullable<FrameSource['halves']>;
  readonly manifest: Manifest;
  readonly #statistics: FrameStatistics;
  /** Byte at which the line of each shard begins, and one more for the end. */
  readonly #lines: Float64Array;
  /** Per shard: 1 once its checksum was found right in this process. */
  readonly #verified: Uint8Array;

  private constructor(folder: string, manifest: Manifest, statistics: FrameStatistics, lines: Float64Array) {
    this.folder = folder;
    this.dIn = manifest.info.dIn;
    this.info = manifest.info;
    this.rows = manifest.rows;
    this.manifest = manifest;
    this.#statistics = statistics;
    const { targetInfo, targetStatistics } = manifest;
    if (targetInfo && targetStatistics) {
      this.dOut = targetInfo.dOut;
      this.targetInfo = targetInfo;
      this.targetStatistics = async () => targetStatistics;
    }
    if (manifest.dtype === 'f16') this.halves = { format: 'f16', chunks: (order) => readAhead(manifest.shards, (number) => this.#chunk(number, patternsOf), order) };
    this.#lines = lines;
    this.#verified = new Uint8Array(manifest.shards);
  }

  /** Throws `file-missing` when there is no store, `file-damaged` when it is not whole. Shards are looked at when they are read. */
  static async open(folder: string): Promise<ActivationStore> {
    const manifest = await readManifest(folder);
    if (!manifest) throw new CochleaError('file-missing', `there are no activations in ${folder}: it has no manifest.json`);
    if (!manifest.statistics) {
      throw new CochleaError('file-damaged', `${folder} is not complete: writing it was interrupted`, 'resume it first');
    }
    const lines: number[] = [0];
    let rows = 0;
    let clips = 0;
    for await (const { line, end } of readIndex(folder)) {
      lines.push(end);
      rows += line.rows;
      clips += line.clips.length;
    }
    if (lines.length - 1 !== manifest.shards || rows !== manifest.rows || clips !== manifest.clips) {
      throw new CochleaError('file-damaged', `${indexPath(folder)} lists ${lines.length - 1} shards with ${rows} rows of ${clips} clips, `
        + `but ${manifestPath(folder)} says ${manifest.shards}, ${manifest.rows} and ${manifest.clips}`);
    }
    return new ActivationStore(folder, manifest, manifest.statistics, Float64Array.from(lines));
  }

  async statistics(): Promise<FrameStatistics> {
    return this.#statistics;
  }

  chunks(order: ChunkOrder): AsyncGenerator<FrameChunk> {
    return readAhead(this.manifest.shards, (number) => this.#chunk(number, decodeFrames), order);
  }

  /** A shard of this number, with its checksum verified the first time. */
  async #shard(number: number): Promise<Shard> {
    const begin = this.#lines[number]!;
    const handle = await runtime.files.open(indexPath(this.folder));
    let bytes: Uint8Array;
    try {
      bytes = await handle.read(begin, this.#lines[number + 1]! - begin);
    } finally {
      await handle.close();
    }
    const line = parseIndexLine(bytes, number, indexPath(this.folder));
    const path = runtime.paths.join(this.folder, line.file);
    const size = (await runtime.files.info(path))?.size;
    if (size !== undefined && size !== line.bytes) throw new CochleaError('file-damaged', `${path} has ${size} bytes, not ${line.bytes}`);
    const content = await runtime.files.read(path);
    if (this.#verified[number] === 0) {
      const hash = runtime.sha256();
      hash.update(content);
      if (hash.hex() !== line.sha256) {
        throw new CochleaError('file-damaged', `${path} is damaged: its checksum is not the one in shards.jsonl`);
      }
      this.#verified[number] = 1;
    }
    const shard = unpackShard(content, path);
    if (shard.dIn !== this.dIn || shard.target?.dOut !== this.dOut || shard.dtype !== this.manifest.dtype || shard.rows !== line.rows) {
      const held = `${shard.rows} rows of ${shard.dIn}${shard.target ? ` and ${shard.target.dOut}` : ''} in ${shard.dtype}`;
      throw new CochleaError('file-damaged', `${path} holds ${held}, which is not what the store has there`);
    }
    return shard;
  }

  async #chunk<X extends FrameArray>(number: number, arrayOf: (frames: Uint8Array, dtype: StoreDType) => X): Promise<FrameChunk<X>> {
    const shard = await this.#shard(number);
    const clip = new Uint32Array(shard.rows);
    const time = new Float32Array(shard.rows);
    let row = 0;
    shard.clips.forEach(({ firstRow, rows }, index) => {
      for (let r = 0; r < rows; r++, row++) {
        clip[row] = index;
        time[row] = (firstRow + r) / this.info.frameRate;
      }
    });
    const clips = shard.clips.map(({ id, path, labels }) => ({ id, path, labels }));
    const { rows, dtype, target } = shard;
    return {
      x: arrayOf(shard.frames, dtype), rows, clip, time, clips,
      ...(target && { target: arrayOf(target.frames, dtype) }),
    };
  }
}

/** Frames of 16 bits as they are; they need not begin where a Uint16Array may. */
function patternsOf(frames: Uint8Array): Uint16Array {
  return frames.byteOffset % 2 === 0 ? new Uint16Array(frames.buffer, frames.byteOffset, frames.length / 2) : new Uint16Array(frames.slice().buffer);
}
