/**
 * One shard of an activation store: a single MessagePack map, without extensions, so that any MessagePack
 * reader gives it back, e.g. `numpy.frombuffer(shard['frames'], '<f2').reshape(shard['rows'], shard['dIn'])`.
 */

import { Packr, Unpackr } from 'msgpackr';
import { CochleaError } from '../errors.ts';
import { decodeElements, dtypeBytes } from '../formats/dtype.ts';
import type { StatisticsState } from './statistics.ts';

/** How frames lie on disk. */
export type StoreDType = 'f16' | 'f32';

/** The rows of one clip in one shard. A clip that does not fit goes on in the next shard. */
export interface ShardClip {
  id: string;
  path: string;
  labels: Record<string, string>;
  /** Of the recording it was computed from. */
  sha256: string;
  seconds: number;
  /** Rows of the whole clip. */
  clipRows: number;
  /** Which of them begins here, and how many are here; row r lies at r / frameRate seconds. */
  firstRow: number;
  rows: number;
}

export interface Shard {
  dIn: number;
  dtype: StoreDType;
  rows: number;
  clips: ShardClip[];
  /** Of all rows of the store up to the end of this shard: the last shard has those of the store, and a writer goes on from there. */
  statisticsSoFar: StatisticsState;
  /** Row-major, little endian. */
  frames: Uint8Array;
  /** The second stream of a store that has one: a row for each of the frames, in the same dtype. */
  target?: ShardTarget;
}

export interface ShardTarget {
  dOut: number;
  statisticsSoFar: StatisticsState;
  frames: Uint8Array;
}

/** The element type of frames, as tensor files name it. */
export function elementType(dtype: StoreDType): 'F16' | 'F32' {
  return dtype === 'f16' ? 'F16' : 'F32';
}

const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' });

const nothing = new Uint8Array(0);

/** A shard as the pieces of its file. Frames are not copied: their binaries are put where the packed rest of the map has empty ones. */
export function packShard({ frames, target, ...rest }: Shard): Uint8Array[] {
  if (!target) return [openBinary(packr.pack({ ...rest, frames: nothing }), frames.length), frames];
  const { frames: targetFrames, ...targetRest } = target;
  const emptyTarget = { ...targetRest, frames: nothing };
  const packed = packr.pack({ ...rest, frames: nothing, target: emptyTarget });
  const targetAt = packed.length - packr.pack('target').length - packr.pack(emptyTarget).length;
  return [
    openBinary(packed.subarray(0, targetAt), frames.length), frames,
    openBinary(packed.subarray(targetAt), targetFrames.length), targetFrames,
  ];
}

/** Packed values whose last one, an empty binary, c4 00, becomes the head of one with a length of 32 bits, big endian: c6. */
function openBinary(packed: Uint8Array, length: number): Uint8Array {
  const opened = new Uint8Array(packed.length - 2 + 5);
  opened.set(packed.subarray(0, -2));
  opened[packed.length - 2] = 0xc6;
  new DataView(opened.buffer).setUint32(packed.length - 1, length);
  return opened;
}

/** Reads a shard's bytes; `path` stands for it in messages. Frames are a view of `bytes`. Throws `file-damaged`. */
export function unpackShard(bytes: Uint8Array, path: string): Shard {
  const damaged = (what: string): CochleaError => new CochleaError('file-damaged', `${path} is not a shard of activations: ${what}`);
  const fault = plainMessagePackFault(bytes);
  if (fault !== undefined) throw damaged(fault);
  let shard: Shard;
  try {
    shard = unpackr.unpack(bytes);
  } catch (error) {
    throw damaged((error as Error).message.replace(/\s+/g, ' ').slice(0, 200));
  }
  if (!isObject(shard)) throw damaged('it is not a map');
  if (!isCount(shard.dIn) || shard.dIn === 0 || !isCount(shard.rows)) throw damaged('its rows or dIn are no counts');
  if (shard.dtype !== 'f16' && shard.dtype !== 'f32') throw damaged('its dtype is neither f16 nor f32');
  const areFrames = (frames: unknown, width: number): boolean =>
    frames instanceof Uint8Array && frames.length === shard.rows * width * dtypeBytes[elementType(shard.dtype)];
  if (!areFrames(shard.frames, shard.dIn)) throw damaged(`its frames are not ${shard.rows} rows of ${shard.dIn}`);
  if (!Array.isArray(shard.clips) || !shard.clips.every(isShardClip)) throw damaged('its table of clips is malformed');
  if (shard.clips.reduce((sum, clip) => sum + clip.rows, 0) !== shard.rows) {
    throw damaged('its clips do not have as many rows as it has frames');
  }
  if (!isStatistics(shard.statisticsSoFar, shard.dIn)) throw damaged('its statistics are malformed');
  const { target } = shard;
  if (target === undefined) return shard;
  if (!isObject(target) || !isCount(target.dOut) || target.dOut === 0) throw damaged('its target has no dOut');
  if (!areFrames(target.frames, target.dOut)) throw damaged(`its target is not ${shard.rows} rows of ${target.dOut}`);
  if (!isStatistics(target.statisticsSoFar, target.dOut)) throw damaged('the statistics of its target are malformed');
  return shard;
}

/** A shard's frames, or those of its target, as float32 [rows, dIn or dOut]. */
export function decodeFrames(frames: Uint8Array, dtype: StoreDType): Float32Array {
  const x = new Float32Array(frames.length / dtypeBytes[elementType(dtype)]);
  decodeElements(frames, elementType(dtype), x, 0);
  return x;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isShardClip(clip: ShardClip): boolean {
  return isObject(clip) && [clip.id, clip.path, clip.sha256].every((text) => typeof text === 'string')
    && isObject(clip.labels) && Object.values(clip.labels).every((label) => typeof label === 'string')
    && typeof clip.seconds === 'number' && [clip.clipRows, clip.firstRow, clip.rows].every(isCount)
    && clip.firstRow + clip.rows <= clip.clipRows;
}

function isStatistics(state: StatisticsState, dIn: number): boolean {
  const isVector = (value: unknown): boolean => Array.isArray(value) && value.length === dIn && value.every(Number.isFinite);
  return isObject(state) && isCount(state.rows) && isVector(state.mean) && isVector(state.squares)
    && Number.isFinite(state.normSum) && Number.isFinite(state.squaredNormSum);
}

const maxDepth = 8;
const maxValues = 1 << 22;

/**
 * What keeps `bytes` from being exactly one MessagePack value of nil, booleans, numbers, strings, binaries, arrays
 * and maps, or undefined. Checked before msgpackr sees them: it would act on extension types (records are compiled
 * into functions, others construct objects), and could be made to build far more than a shard has.
 */
export function plainMessagePackFault(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pending: number[] = [1]; // values still to come, per level
  let at = 0;
  let values = 0;
  /** Reads a length of 1, 2 or 4 bytes and steps over it. */
  const length = (logSize: number): number => {
    const start = at;
    at += 1 << logSize;
    if (at > bytes.length) return Infinity;
    return logSize === 0 ? view.getUint8(start) : logSize === 1 ? view.getUint16(start) : view.getUint32(start);
  };
  while (pending.length > 0) {
    if (pending.at(-1) === 0) {
      pending.pop();
      continue;
    }
    pending[pending.length - 1]!--;
    if (at >= bytes.length) return 'it ends too early';
    if (++values > maxValues) return `it has more than ${maxValues} values`;
    const token = bytes[at++]!;
    let payload = 0;
    let children = 0;
    if (token < 0x80 || token >= 0xe0 || token === 0xc0 || token === 0xc2 || token === 0xc3) continue;
    else if (token < 0x90) children = 2 * (token & 0x0f);
    else if (token < 0xa0) children = token & 0x0f;
    else if (token < 0xc0) payload = token & 0x1f;
    else if (token >= 0xc4 && token <= 0xc6) payload = length(token - 0xc4); // binaries
    else if (token === 0xca || token === 0xcb) payload = token === 0xca ? 4 : 8; // floats
    else if (token >= 0xcc && token <= 0xd3) payload = 1 << (token & 3); // integers
    else if (token >= 0xd9 && token <= 0xdb) payload = length(token - 0xd9); // strings
    else if (token === 0xdc || token === 0xdd) children = length(token - 0xdb); // arrays
    else if (token === 0xde || token === 0xdf) children = 2 * length(token - 0xdd); // maps
    else return `byte ${at - 1} begins an extension or is reserved`;
    at += payload;
    if (at + children > bytes.length) return 'it ends too early'; // every value takes a byte at least
    if (children > 0) {
      if (pending.length >= maxDepth) return 'it is nested too deeply';
      pending.push(children);
    }
  }
  return at === bytes.length ? undefined : `${bytes.length - at} bytes follow its end`;
}
