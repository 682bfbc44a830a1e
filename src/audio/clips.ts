import type { Sound } from './sound.ts';
import { CochleaError } from '../errors.ts';
import { type FileInfo, runtime } from '../runtime/index.ts';
import { decodeSound } from './decode.ts';
import { isManifest, readManifest } from './manifest.ts';
import { resample } from './resample.ts';
import { soundError } from './sound.ts';

/** A recording, or a stretch of one. */
export interface Clip {
  /** Unique among the clips of one listing, and the same on every machine: the path below the input, or the manifest's `id`. */
  id: string;
  path: string;
  /** Seconds in the file. */
  start?: number;
  end?: number;
  labels: Record<string, string>;
}

export interface LoadedClip extends Sound {
  seconds: number;
  /** Of the bytes of the whole file. */
  sha256: string;
}

const soundExtensions = ['.wav', '.wave', '.flac', '.mp3', '.ogg', '.oga', '.opus', '.m4a', '.mp4', '.m4b', '.aac'];

/** Recordings that folders are not searched for: kinds that are not read, or not by such a name. */
const unreadExtensions = [
  '.3gp', '.ac3', '.aif', '.aifc', '.aiff', '.amr', '.ape', '.au', '.caf', '.mka', '.mp2', '.mpc', '.ra', '.snd', '.sph', '.spx', '.tta', '.w64', '.weba', '.webm', '.wma', '.wv',
];

// Manifests are written by hand and by aligners: an end that overshoots the recording by less than this is the recording's end.
const overshoot = 0.1;

/** A clip on its way into the listing: where it came from, and whether a person chose its id. */
export type FoundClip = Clip & { named: boolean; where: string };

/**
 * Lists the clips of sound files, folders (walked whole, in sorted order, by extension, hidden files left out) and
 * manifests (.csv, .tsv, .json, .jsonl; see readManifest). What cannot be used is told in `problems`, one line each; of a folder's recordings
 * of kinds that are not looked for one line says how many there are.
 * Throws CochleaError `file-missing` for an input that is not there, and when nothing at all was found.
 */
export async function listClips(inputs: string[]): Promise<{ clips: Clip[]; problems: string[] }> {
  const { files, paths } = runtime;
  const problems: string[] = [];
  const found: FoundClip[] = [];
  for (const input of inputs) {
    const info = await files.info(input);
    if (!info) {
      const hint = 'name sound files, folders of them, or a manifest (.csv, .tsv, .json, .jsonl)';
      throw new CochleaError('file-missing', `no such file or folder: ${input}`, hint);
    }
    if (info.isDirectory) {
      const unread = new Map<string, number>();
      found.push(...(await walk(input, '', problems, unread)));
      const counts = [...unread].sort().map(([extension, count]) => `${count} ${extension}`).join(', ');
      if (counts !== '') problems.push(`${input}: recordings of kinds that are not looked for: ${counts} (convert them, e.g. with \`ffmpeg -i in out.flac\`)`);
    } else if (isManifest(input)) found.push(...(await readManifest(input, problems)));
    else found.push({ id: paths.basename(input), path: input, labels: {}, named: false, where: input });
  }
  const clips = withUniqueIds(found, problems);
  if (clips.length === 0) {
    const why = problems.length > 0 ? `; first problem: ${problems[0]}` : '';
    const hint = `looked for ${soundExtensions.join(' ')} and manifests named outright`;
    throw new CochleaError('file-missing', `no recordings in ${inputs.join(', ')}${why}`, hint);
  }
  return { clips, problems };
}

/** Chosen ids must not repeat; the others get a number behind them where they would. */
function withUniqueIds(found: FoundClip[], problems: string[]): Clip[] {
  const owners = new Map<string, string>();
  const kept = found.filter(({ id, named, where }) => {
    if (!named) return true;
    const owner = owners.get(id);
    if (owner !== undefined) problems.push(`${where}: the id ${JSON.stringify(id)} is taken by ${owner}`);
    else owners.set(id, where);
    return owner === undefined;
  });
  return kept.map(({ named, where, ...clip }) => {
    if (named) return clip;
    let id = clip.id;
    for (let n = 2; owners.has(id); n++) id = `${clip.id}#${n}`;
    owners.set(id, where);
    return { ...clip, id };
  });
}

/** The sound files below `root`/`below`; ids are written with slashes on every platform. `unread` counts, by extension, recordings that are not looked for. */
async function walk(root: string, below: string, problems: string[], unread: Map<string, number>): Promise<FoundClip[]> {
  const { files, paths } = runtime;
  const found: FoundClip[] = [];
  let names: string[] = [];
  try {
    names = await files.list(paths.join(root, below));
  } catch (error) {
    problems.push(error instanceof CochleaError ? error.message : String(error));
  }
  let blocked = false;
  for (const name of names) {
    if (name.startsWith('.')) continue;
    const id = below === '' ? name : `${below}/${name}`;
    const path = paths.join(root, id);
    const extension = paths.extname(name).toLowerCase();
    const isSound = soundExtensions.includes(extension);
    let info: FileInfo | undefined;
    try {
      info = await files.info(path);
    } catch (error) {
      const { message, cause } = error as CochleaError;
      if ((cause as { code?: string } | undefined)?.code !== 'ELOOP') {
        // It may be a folder with recordings; what keeps it shut mostly keeps its neighbours shut, and one line tells of them.
        if (isSound || !blocked) problems.push(message);
        blocked ||= !isSound;
        continue;
      }
    }
    if (info?.isDirectory) {
      if (!(await isLoop(root, id))) found.push(...(await walk(root, id, problems, unread)));
    } else if (info && unreadExtensions.includes(extension)) {
      unread.set(extension, (unread.get(extension) ?? 0) + 1);
    } else if (isSound && info && !info.isFile) {
      problems.push(`${path}: is a pipe or device, not a sound file`);
    } else if (isSound && info) {
      found.push({ id, path, labels: {}, named: false, where: path });
    } else if (!info && name.includes('\ufffd')) {
      problems.push(`${path}: its name is not UTF-8, and nothing can be opened by it: rename it`);
    } else if (isSound) {
      problems.push(`${path}: is a link that leads nowhere`);
    }
  }
  return found;
}

/**
 * True when a folder is one of those above it, reached again through a link. The way from that one down to here can then
 * be walked over and over; in a real tree nobody nests the same names eight times.
 */
async function isLoop(root: string, below: string): Promise<boolean> {
  const steps = below.split('/');
  for (let above = 0; above < steps.length; above++) {
    const way = steps.slice(above);
    const again = Array.from({ length: 8 }, () => way).flat();
    const path = runtime.paths.join(root, ...steps.slice(0, above), ...again);
    if (await runtime.files.info(path).catch(() => undefined)) return true;
  }
  return false;
}

interface Decoded {
  sound: Sound;
  sha256: string;
}

// Manifests cut many clips from one long recording, one after the other: it is decoded once.
let latest: { key: string; decoded: Promise<Decoded> } | undefined;

async function decodeFile(path: string): Promise<Decoded> {
  const bytes = await runtime.files.read(path);
  const hash = runtime.sha256();
  hash.update(bytes);
  return { sound: await decodeSound(bytes, path), sha256: hash.hex() };
}

async function decodeOnce(path: string): Promise<Decoded> {
  const info = await runtime.files.info(path);
  const key = `${path} ${info?.size} ${info?.modified}`;
  if (latest?.key !== key) latest = { key, decoded: decodeFile(path) };
  return latest.decoded;
}

/**
 * Reads a clip: decodes its file, cuts out start..end, resamples the cut to `sampleRate`.
 * Throws CochleaError `file-missing`, or `audio` when the file cannot be decoded or is shorter than the clip says.
 */
export async function loadClip(clip: Clip, sampleRate: number): Promise<LoadedClip> {
  const whole = clip.start === undefined && clip.end === undefined;
  const { sound, sha256 } = await (whole ? decodeFile(clip.path) : decodeOnce(clip.path));
  const samples = resample(whole ? sound.samples : cut(clip, sound), sound.sampleRate, sampleRate);
  return { samples, sampleRate, seconds: samples.length / sampleRate, sha256 };
}

function cut({ id, path, start = 0, end }: Clip, { samples, sampleRate }: Sound): Float32Array {
  const seconds = samples.length / sampleRate;
  const to = end ?? seconds;
  const first = Math.round(start * sampleRate);
  const last = Math.min(samples.length, Math.round(to * sampleRate));
  if (to > seconds + overshoot || last <= first) {
    throw soundError(path, `lasts ${seconds.toFixed(3)} s, but clip ${JSON.stringify(id)} is ${start} to ${to} s of it`, 'mend the manifest');
  }
  return samples.slice(first, last);
}
