/** The two readable files of an activation store: manifest.json and shards.jsonl. */

import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { readLines } from './lines.ts';
import type { StoreDType } from './shard.ts';
import { gamma } from './statistics.ts';
import type { FrameStatistics } from './statistics.ts';
import type { ActivationInfo, ComputedBy, TargetInfo } from './types.ts';

const format = 'cochlea activations';
const version = 1;

/** Numbers in a shard: no store needs more, and a damaged manifest must not make a writer allocate it. */
export const maxShardElements = 2 ** 28;

export interface Manifest {
  /** False while the store is being written, or was left in the middle of it; then the totals are missing. */
  complete: boolean;
  /** dataSha256 is the SHA-256 of one line `["<clip id>","<sha256 of its recording>"]` per clip, in order; empty until complete. */
  info: ActivationInfo;
  /** Of the second stream; undefined when there is none. */
  targetInfo: TargetInfo | undefined;
  dtype: StoreDType;
  rowsPerShard: number;
  shards: number;
  clips: number;
  rows: number;
  statistics: FrameStatistics | undefined;
  targetStatistics: FrameStatistics | undefined;
}

export const manifestPath = (folder: string): string => runtime.paths.join(folder, 'manifest.json');
export const indexPath = (folder: string): string => runtime.paths.join(folder, 'shards.jsonl');
export const shardName = (number: number): string => `shard-${String(number).padStart(6, '0')}.msgpack`;

export async function writeManifest(folder: string, { statistics, targetStatistics, ...manifest }: Manifest): Promise<void> {
  const text = JSON.stringify({
    format, version, ...manifest, statistics: plainMoments(statistics), targetStatistics: plainMoments(targetStatistics),
  }, null, 2);
  // One number per line is what nobody reads: lists of numbers go on one line.
  await runtime.files.write(manifestPath(folder), `${text.replace(/\[\n[\s\d.eE+,-]*\]/g, (list) => list.replace(/\s+/g, ' '))}\n`);
}

function plainMoments(statistics: FrameStatistics | undefined): object | undefined {
  if (!statistics) return undefined;
  const { mean, variance, ...numbers } = statistics;
  return { ...numbers, mean: [...mean], variance: [...variance] };
}

/** Undefined when there is no manifest. Throws `file-damaged` for one that is not ours or not whole. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = manifestPath(folder);
  if (await runtime.files.info(path) === undefined) return undefined;
  const damaged = (what: string): CochleaError => new CochleaError('file-damaged', `${path} ${what}`);
  let fields: Manifest & { format: unknown; version: unknown };
  try {
    fields = JSON.parse(await runtime.files.readText(path));
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw damaged('is not JSON');
  }
  if (fields?.format !== format) throw damaged('is not the manifest of an activation store');
  if (fields.version !== version) {
    throw new CochleaError('file-damaged', `${path} has format version ${JSON.stringify(fields.version)}, this program reads ${version}`,
      'use a newer cochlea');
  }
  const { info, targetInfo, dtype, complete, rowsPerShard, shards, clips, rows } = fields;
  const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  const whole = isInfo(info) && (targetInfo === undefined || isTargetInfo(targetInfo)) && (dtype === 'f16' || dtype === 'f32') && typeof complete === 'boolean' && [rowsPerShard, shards, clips, rows].every(isCount)
    && rowsPerShard > 0 && rowsPerShard * (info.dIn + (targetInfo?.dOut ?? 0)) <= maxShardElements;
  if (!whole) throw damaged('has fields that cannot be');
  const manifest = { complete, info, targetInfo, dtype, rowsPerShard, shards, clips, rows };
  if (!complete) return { ...manifest, statistics: undefined, targetStatistics: undefined };

  const moments = (given: FrameStatistics | undefined, width: number): FrameStatistics => {
    const isVector = (value: unknown): boolean => Array.isArray(value) && value.length === width && value.every(Number.isFinite);
    if (!given || !isVector(given.mean) || !isVector(given.variance) || given.rows !== rows
      || !Number.isFinite(given.meanNorm) || !Number.isFinite(given.meanSquaredNorm)) {
      throw damaged('has statistics that cannot be');
    }
    const mean = Float64Array.from(given.mean);
    const variance = Float64Array.from(given.variance);
    // gamma is in the file for people: it can be infinite, which JSON cannot say.
    return { ...given, mean, variance, gamma: gamma(mean, variance) };
  };
  return {
    ...manifest, statistics: moments(fields.statistics, info.dIn),
    targetStatistics: targetInfo && moments(fields.targetStatistics, targetInfo.dOut),
  };
}

const isWidth = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0;

const isPlace = ({ hook, layer }: { hook: unknown; layer: unknown }): boolean => typeof hook === 'string' && (layer === null || Number.isInteger(layer));

/** Whether what a file says of its frames can be. */
export function isInfo(info: ActivationInfo | null | undefined): boolean {
  return typeof info === 'object' && info !== null && [info.model, info.modelSha256, info.dataSha256].every((text) => typeof text === 'string') && ['string', 'undefined'].includes(typeof info.modelSource) && isPlace(info)
    && isWidth(info.dIn) && info.frameRate > 0 && Number.isFinite(info.sampleRate) && (info.computedBy === undefined || isProgram(info.computedBy));
}

const isProgram = (by: ComputedBy | null): boolean => typeof by === 'object' && by !== null && [by.package, by.version, by.provider].every((text) => typeof text === 'string');

export function isTargetInfo(info: TargetInfo | null | undefined): boolean {
  return typeof info === 'object' && info !== null && isPlace(info) && isWidth(info.dOut);
}

/** A line of shards.jsonl: one finished shard, with [id, sha256 of the recording] of every clip that ends in it. */
export interface IndexLine {
  file: string;
  rows: number;
  bytes: number;
  sha256: string;
  clips: [string, string][];
}

/**
 * The whole lines of shards.jsonl with the byte at which each ends. Throws `file-damaged` for a line that is not what the shard of its number must have.
 */
export async function* readIndex(folder: string): AsyncGenerator<{ line: IndexLine; end: number }> {
  const path = indexPath(folder);
  if (await runtime.files.info(path) === undefined) return;
  let number = 0;
  for await (const { bytes, end } of readLines(path)) yield { line: parseIndexLine(bytes, number++, path), end };
}

/** One line, the one of shard `number`. */
export function parseIndexLine(bytes: Uint8Array, number: number, path: string): IndexLine {
  let line: IndexLine | undefined;
  try {
    line = JSON.parse(new TextDecoder().decode(bytes));
  } catch {}
  const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  const isPair = (pair: unknown): boolean => Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === 'string');
  if (!line || line.file !== shardName(number) || !isCount(line.rows) || !isCount(line.bytes) || !/^[0-9a-f]{64}$/.test(line.sha256)
    || !Array.isArray(line.clips) || !line.clips.every(isPair)) {
    throw new CochleaError('file-damaged', `line ${number + 1} of ${path} does not describe ${shardName(number)}`);
  }
  return line;
}
