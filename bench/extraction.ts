/**
 * `npm run bench:extraction [-- options]`: seconds of sound a second that recordings are encoded at, as ratios to one session with one thread: threads of one
 * session, sessions side by side, and the same by onnxruntime-node where it is installed. Every way runs in turns in a process of its own, as the
 * number of threads is fixed for a process. Not counted are opening the model and, unless --whole, decoding and resampling: clips are wav files then.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { inOrder } from '../src/activations/index.ts';
import { loadClip } from '../src/audio/index.ts';
import { chooseBackend } from '../src/encoders/index.ts';
import { CochleaError } from '../src/errors.ts';
import { type AudioOptions, openAudio } from '../src/jobs/recordings/audio.ts';
import { runtime } from '../src/runtime/index.ts';
import { enter } from './entry.ts';
import { type Spread, spreadOf } from './timing.ts';

const usage = `usage: npm run bench:extraction -- [options]
  --model MODEL   (default: moonshine-tiny) and
  --hook HOOK     (default: encoder.layers.3), as for \`cochlea extract\`
  --audio PATH    (default: the recordings of the demo)
  --take N        clips, spread evenly (default: 48)
  --whole         decode and resample the recordings as they are, too
  --turns N       of each way (default: 3)
  --json          one JSON object on stdout
`;

type Work = Pick<AudioOptions, 'model' | 'hook' | 'audio' | 'take'>;
type Way = Required<Pick<AudioOptions, 'backend' | 'workers' | 'threads'>>;

interface Taken {
  /** Of sound, by the clock, and of all threads. */
  seconds: number;
  wall: number;
  cpu: number;
}

/** Encodes all clips once, after one for each session. */
async function encodeAll(options: AudioOptions): Promise<Taken> {
  const audio = await openAudio({ ...options, strict: true });
  try {
    await Promise.all(audio.clips.slice(0, options.workers).map((clip) => audio.load(clip)));
    const before = process.cpuUsage(), from = performance.now();
    let seconds = 0;
    for await (const loaded of inOrder(audio.clips.length, (n) => audio.load(audio.clips[n]!), { ahead: audio.ahead })) seconds += loaded!.seconds;
    const { user, system } = process.cpuUsage(before);
    return { seconds, wall: (performance.now() - from) / 1000, cpu: (user + system) / 1e6 };
  } finally {
    await audio.close();
  }
}

async function inProcess(options: AudioOptions): Promise<Taken> {
  const program = fileURLToPath(import.meta.url);
  const args = 'Deno' in globalThis ? ['run', '-A', '--no-lock', '--no-check', program] : [program];
  const child = spawn(process.execPath, [...args, 'encode', JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (piece) => output += piece);
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new CochleaError('runtime', `encoding ended with code ${code}`);
  return JSON.parse(output) as Taken;
}

export interface WayResult extends Way {
  name: string;
  /** Seconds of sound a second, and those that a second of CPU time encodes. */
  speed: Spread;
  perCpuSecond: Spread;
  /** Times the first way's speed, each against the same turn's. */
  ratio: Spread;
}

/** Measures ways in turns. */
export async function measureWays(work: Work, ways: Record<string, Way>, turns: number, onTurn?: (line: string) => void): Promise<WayResult[]> {
  const names = Object.keys(ways);
  const taken = names.map((): Taken[] => []);
  for (let turn = 0; turn < turns; turn++) {
    for (const [n, name] of names.entries()) {
      taken[n]!.push(await inProcess({ ...work, ...ways[name]! }));
      onTurn?.(`turn ${turn + 1} of ${turns}: ${name}`);
    }
  }
  const speeds = taken.map((all) => all.map(({ seconds, wall }) => seconds / wall));
  return names.map((name, n) => ({
    name, ...ways[name]!, speed: spreadOf(speeds[n]!), perCpuSecond: spreadOf(taken[n]!.map(({ seconds, cpu }) => seconds / cpu)),
    ratio: spreadOf(speeds[n]!.map((speed, turn) => speed / speeds[0]![turn]!)),
  }));
}

/** The same clips as 16-bit mono wav files at the model's rate, in `folder`. */
async function writeWavs({ model, hook, audio, take }: Work, folder: string): Promise<void> {
  const opened = await openAudio({ model, hook, audio, take: take!, workers: 1 });
  await opened.close();
  const rate = opened.encoder.sampleRate;
  for (const [n, clip] of opened.clips.entries()) {
    const { samples } = await loadClip(clip, rate);
    const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    // RIFF, size, WAVE; the chunk fmt: PCM, one channel, rate, bytes a second, bytes and bits a sample; the chunk data.
    [0x52494646, 0, 0x57415645, 0x666d7420, 0, 0, 0, 0, 0, 0x64617461].forEach((word, place) => bytes.setUint32(4 * place, word));
    const numbers: [at: number, value: number][] = [[4, 36 + 2 * samples.length], [16, 16], [20, 1 + (1 << 16)], [24, rate], [28, 2 * rate], [32, 2 + (16 << 16)], [40, 2 * samples.length]];
    for (const [at, value] of numbers) bytes.setUint32(at, value, true);
    samples.forEach((sample, t) => bytes.setInt16(44 + 2 * t, Math.max(-32_768, Math.min(32_767, Math.round(32_768 * sample))), true));
    writeFileSync(join(folder, `${String(n).padStart(5, '0')}.wav`), new Uint8Array(bytes.buffer));
  }
}

async function waysHere(): Promise<Record<string, Way>> {
  const { processors } = runtime, threads = Math.min(4, processors), { name } = await chooseBackend('auto');
  const of = (backend: 'wasm' | 'native'): Record<string, Way> => ({
    [`${backend}, one thread`]: { backend, workers: 1, threads: 1 },
    ...(processors > 1 && { [`${backend}, ${threads} threads`]: { backend, workers: 1, threads }, [`${backend}, ${processors} workers`]: { backend, workers: processors, threads: 1 } }),
  });
  return { ...of('wasm'), ...(name === 'native' ? of('native') : {}) };
}

const range = ({ median, least, most }: Spread): string => `${median.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;

async function main(): Promise<void> {
  const parse = () => {
    try {
      return parseArgs({
        options: {
          model: { type: 'string', default: 'moonshine-tiny' }, hook: { type: 'string', default: 'encoder.layers.3' }, audio: { type: 'string', multiple: true },
          take: { type: 'string', default: '48' }, turns: { type: 'string', default: '3' }, whole: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
        },
      }).values;
    } catch (error) {
      throw new CochleaError('usage', (error as Error).message, usage);
    }
  };
  const { model, hook, audio, whole, json, help, ...counts } = parse();
  if (help) return void process.stdout.write(usage);
  for (const [name, value] of Object.entries(counts)) if (!/^[1-9]\d*$/.test(value)) throw new CochleaError('usage', `--${name} is ${value}`, 'it must be a positive whole number');
  const demo = fileURLToPath(new URL(`${'Deno' in globalThis ? '..' : '../..'}/demo/audio/manifest.csv`, import.meta.url));
  const work = { model, hook, audio: audio ?? [demo], take: Number(counts.take) };
  const folder = mkdtempSync(join(tmpdir(), 'cochlea-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  process.once('SIGINT', () => process.exit(130));
  if (!whole) await writeWavs(work, folder);
  const ways = await measureWays(whole ? work : { model, hook, audio: [folder] }, await waysHere(), Number(counts.turns), (line) => process.stderr.write(`${line}\n`));
  const load = loadavg()[0]!;
  if (json) return void process.stdout.write(`${JSON.stringify({ runtime: runtime.version, processors: runtime.processors, load, ...work, whole, ways })}\n`);
  const lines = ways.map(({ name, speed, ratio, perCpuSecond }) => `  ${name.padEnd(20)}${range(speed).padEnd(28)}${range(ratio).padEnd(24)}${range(perCpuSecond)}`);
  process.stdout.write([
    `${model} up to ${hook}, ${work.take} clips, ${runtime.version} with ${runtime.processors} processors, load ${load.toFixed(1)}`,
    `  ${''.padEnd(20)}${'seconds of sound a second'.padEnd(28)}${'times the first'.padEnd(24)}a second of CPU time`, ...lines, '',
  ].join('\n'));
}

if (process.argv[2] === 'encode') process.stdout.write(JSON.stringify(await encodeAll(JSON.parse(process.argv[3]!) as AudioOptions)));
else if (process.argv[1] === fileURLToPath(import.meta.url)) await enter(main);
