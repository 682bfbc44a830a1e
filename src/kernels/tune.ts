/** The one-off choice among a family's variants: by the clock, on this adapter, for a class of shapes. */
import { type Gpu, padded, type Tensor } from '../gpu/index.ts';
import { runtime } from '../runtime/index.ts';
import { encode, encodeChoice, type EncodeVariant, encodeVariants } from './encode.ts';
import { shaders } from './shaders.gen.ts';

export interface EncodeShape {
  dIn: number;
  dSae: number;
  /** Of a batch. */
  rows: number;
}

/** FLOP of a step's product below which a choice is not worth its compilers' time. */
const worthwhile = 4e9;

/** A variant takes the place of the first guess only if it needs less than this share of its time: bits that change for nothing are worse. */
const margin = 0.95;

const turns = 4;

/**
 * Chooses the encoder's variant for these shapes, once: what `gpu.variants` has already stays, then what an earlier process found on
 * this adapter with this runtime and these shaders, then what is fastest in four turns on up to 512 MiB of scratch memory. Returns a line that says what it
 * measured, or undefined when it measured nothing.
 */
export async function tuneEncode(gpu: Gpu, { dIn, dSae, rows }: EncodeShape): Promise<string | undefined> {
  const name = encodeChoice(dIn, dSae);
  const able = candidates(gpu, dSae);
  if (gpu.variants.has(name) || gpu.variants.has('encode') || able.length < 2 || 2 * rows * dIn * dSae < worthwhile) return undefined;
  const found = await readChoice(gpu, name, able);
  if (found) {
    gpu.variants.set(name, found);
    return undefined;
  }
  const times = await timed(gpu, able, { dIn, dSae, rows });
  if (!times) return undefined;
  const first = able[0]!;
  const best = able.reduce((least, variant) => (times[variant]! < times[least]! ? variant : least), first);
  const chosen = times[best]! < margin * times[first]! ? best : first;
  const settled = await settle(gpu, name, able, chosen);
  gpu.variants.set(name, settled);
  return `${name}: ${settled}, of ${able.map((variant) => `${variant} ${times[variant]!.toFixed(2)} ms`).join(', ')} (kept for next time)`;
}

/** Those that may be the fastest: a software adapter's are known but for subgroups of four, which win or lose with its processor. */
function candidates(gpu: Gpu, dSae: number): EncodeVariant[] {
  const able = encodeVariants(gpu, dSae);
  return gpu.adapter.software ? able.filter((variant) => variant === 'direct' || variant === 'resident') : able.filter((variant) => variant !== 'direct');
}

/** Milliseconds of a product by each variant, the least of some turns; undefined where there is no memory to try. */
async function timed(gpu: Gpu, able: readonly EncodeVariant[], { dIn, dSae, rows }: EncodeShape): Promise<Record<string, number> | undefined> {
  const stride = padded(dIn);
  const latents = Math.min(dSae, Math.floor(gpu.bindingBytes / (4 * stride) / 128) * 128 || dSae);
  const some = Math.min(rows, Math.max(512, Math.floor((gpu.adapter.software ? 2.5e8 : 2e10) / (2 * dIn * latents))), Math.floor(Math.min(gpu.bindingBytes, 2 ** 28) / (4 * latents)));
  const matrix = (label: string, m: number, n: number, width: number): Tensor => gpu.tensor({ label, dtype: 'f32', rows: m, columns: n, stride: width });
  let tensors;
  try {
    tensors = await gpu.allocate('room to compare variants', () => ({
      xc: matrix('tuning frames', some, dIn, stride), W_enc: matrix('tuning weights', latents, dIn, stride),
      b_enc: matrix('tuning biases', 1, latents, padded(latents)), h: matrix('tuning pre-activations', some, latents, latents),
    }));
  } catch {
    return undefined; // the run itself will say that the memory is short
  }
  const times: Record<string, number> = {};
  // The first turn compiles.
  for (let turn = 0; turn <= turns; turn++) {
    for (const variant of able) {
      const began = performance.now();
      const rec = gpu.record();
      encode(rec, tensors, 0, some, { variant });
      rec.submit();
      await gpu.readBuffer(tensors.h.buffer, 16);
      if (turn > 0) times[variant] = Math.min(times[variant] ?? Infinity, performance.now() - began);
    }
  }
  Object.values(tensors).forEach((tensor) => gpu.free(tensor));
  return times;
}

/** What decides which variant is fastest, beside the shapes. */
function placeOf({ adapter }: Gpu): string {
  const hashes = (['encode_direct', 'encode_resident', 'encode_tiled', 'encode_wide'] as const).map((name) => shaders[name].hash.slice(0, 8));
  return [adapter.vendor, adapter.architecture, adapter.device, adapter.description, runtime.version, ...hashes].join(' | ');
}

/** Each choice has a file of its own, so that processes that choose at the same time do not lose each other's. */
function choiceFile(gpu: Gpu, name: string): string {
  const hash = runtime.sha256();
  hash.update(new TextEncoder().encode(`${placeOf(gpu)} | ${name}`));
  return runtime.paths.join(runtime.cacheFolder(), 'tuning', `${hash.hex().slice(0, 16)}.json`);
}

/** What an earlier process chose. A file that is missing or not to be understood is as good as none: the choice is measured anew. A page has none. */
async function readChoice(gpu: Gpu, name: string, able: readonly EncodeVariant[]): Promise<EncodeVariant | undefined> {
  try {
    const { variant } = JSON.parse(await runtime.files.readText(choiceFile(gpu, name))) as { variant?: unknown };
    return able.find((one) => one === variant);
  } catch {
    return undefined;
  }
}

/** Keeps a choice for later processes, unless another process was first: then that one's holds, here too. */
async function settle(gpu: Gpu, name: string, able: readonly EncodeVariant[], variant: EncodeVariant): Promise<EncodeVariant> {
  try {
    const path = choiceFile(gpu, name), content = `${JSON.stringify({ adapter: placeOf(gpu), choice: name, variant }, null, 2)}\n`;
    if (await runtime.files.writeNew(path, content)) return variant;
    const other = await readChoice(gpu, name, able);
    if (other) return other;
    await runtime.files.write(path, content);
  } catch {
    // The next process measures again.
  }
  return variant;
}
