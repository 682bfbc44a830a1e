import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { type Backend, type BackendName, chooseBackend } from './backend.ts';
import { readDeclared } from './declared.ts';
import { chooseFamily, guessFamily, type Family, type FamilyName, type FamilyOptions } from './families.ts';
import { type EncodeOnGpu, gpuEncoding } from './gpu-frames.ts';
import { cutAt, type Model, parseModel } from './graph.ts';
import { activationNodes, findHooks, resolveHook, type HookPoint } from './hooks.ts';
import { resolveModel } from './models.ts';
import { checkSamples, framesOf, type Layout, observedLayout, promisedLayout } from './layout.ts';
import { openSession, type RunOutput } from './session.ts';
import { type DetachedModel, detachWeights, leaveStored, readModel, takeModel } from './weights.ts';

export interface EncodedClip {
  /** [rows, dIn]; row i stands at i / frameRate seconds. */
  frames: Float32Array;
  rows: number;
  dIn: number;
  /** Rows before padding: rows 0 ... valid - 1 are real sound. */
  valid: number;
}

export interface Encoder {
  readonly model: { readonly name: string; readonly family: FamilyName; readonly sha256: string; readonly source: string };
  readonly backend: Backend;
  readonly hook: HookPoint;
  readonly dIn: number;
  /** Of the samples that encode takes, in Hz. */
  readonly sampleRate: number;
  /** Frames per second. */
  readonly frameRate: number;
  /**
   * The activations of one clip, mono, full scale 1. How long clips are split: families.ts.
   * Throws CochleaError `audio` when the clip is shorter than a frame or has samples that are no numbers.
   */
  encode(samples: Float32Array): Promise<EncodedClip>;
  /** Frees the model. The encoder cannot be used after it. */
  close(): Promise<void>;
}

/** A model cut off behind the last of several hook points: one run gives the frames of all of them. */
export interface MultiEncoder extends Pick<Encoder, 'model' | 'backend' | 'sampleRate' | 'frameRate' | 'close'> {
  /** In the order in which they were asked for. */
  readonly hooks: readonly { readonly hook: HookPoint; readonly dIn: number }[];
  /** Per hook point the activations of one clip [rows, dIn]; row i of all of them stands at i / frameRate seconds. Throws as `Encoder.encode`. */
  encode(samples: Float32Array): Promise<{ frames: readonly Float32Array[]; rows: number; valid: number }>;
  /** The same without bringing anything to the host; only of the gpu backend. */
  readonly encodeOnGpu?: EncodeOnGpu;
}

/** A model that is no file: where there are none. */
export interface ModelBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface MultiEncoderOptions extends FamilyOptions {
  /** A name of `knownModels`, a path of an .onnx file, or a folder with one; or the content of a file with all its weights, of which options say what stands beside others. */
  model: string | ModelBytes;
  /** Names of hook points (`listHooks`), or of any tensors. */
  hooks: readonly string[];
  /** Threads of one run, at most 4 unless said otherwise; of the wasm backend the first encoder of a process chooses for all. */
  threads?: number;
  /** What computes: `auto` unless said otherwise. */
  backend?: BackendName;
  /** Of the gpu backend, which has none of its own. */
  device?: GPUDevice;
  /** Told in one line what is being fetched, when something is. */
  onProgress?: (line: string) => void;
}

export interface EncoderOptions extends Omit<MultiEncoderOptions, 'hooks'> {
  /** A hook point's name (`listHooks`), or any tensor's. */
  hook: string;
}

export interface ModelDescription {
  name: string;
  path: string;
  /** Where it came from: a package, or the path itself. */
  source: string;
  sha256: string;
  producer: string;
  opset: number;
  /** Undefined when the graph looks like none: then only its graph can be looked at. */
  family: FamilyName | undefined;
  hooks: HookPoint[];
  /** Names of all tensors that hold activations, in order of computation: any can be hooked if it has one vector per frame. */
  tensors: string[];
}

export async function readJson(path: string): Promise<unknown> {
  if (!(await runtime.files.info(path))) return undefined;
  try {
    return JSON.parse(await runtime.files.readText(path)) ?? {};
  } catch (error) {
    throw new CochleaError('file-damaged', `${path}: not JSON (${(error as Error).message})`);
  }
}

/**
 * What the model's folder (or that above its folder onnx) says of its input: preprocessor_config.json and config.json, which
 * Transformers and its exporters write, and cochlea-input.json, which declares a model of no known family.
 */
export async function readStated(modelPath: string): Promise<FamilyOptions> {
  const folder = runtime.paths.dirname(modelPath);
  const places = runtime.paths.basename(folder) === 'onnx' ? [folder, runtime.paths.dirname(folder)] : [folder];
  const first = async (name: string): Promise<{ path: string; content: Record<string, unknown> } | undefined> => {
    for (const place of places) {
      const path = runtime.paths.join(place, name), content = await readJson(path);
      if (content !== undefined) return { path, content: content as Record<string, unknown> };
    }
    return undefined;
  };
  const declared = await first('cochlea-input.json');
  const { do_normalize: normalize, sampling_rate: sampleRate, mean, std } = (await first('preprocessor_config.json'))?.content ?? {};
  return {
    ...(declared && { input: readDeclared(declared.content, declared.path) }),
    // Nothing in MERT's graph tells it from HuBERT's.
    ...((await first('config.json'))?.content['model_type'] === 'mert_model' && { family: 'mert' }),
    ...(typeof normalize === 'boolean' && { normalize }),
    ...(typeof sampleRate === 'number' && sampleRate > 0 && { sampleRate }),
    ...(typeof mean === 'number' && { mean }),
    ...(typeof std === 'number' && std > 0 && { std }),
  };
}

/** Everything a person can hook in a model, in order of computation. */
export async function listHooks(model: string, onProgress?: (line: string) => void): Promise<ModelDescription> {
  const { name, path, source } = await resolveModel(model, onProgress);
  const { model: graph, sha256 } = await readModel(path);
  const stated = await readStated(path);
  return {
    name, path, source, sha256, producer: graph.producer, opset: graph.opset,
    family: stated.family ?? (stated.input ? 'declared' : guessFamily(graph)), hooks: findHooks(graph),
    tensors: activationNodes(graph).flatMap((node) => node.outputs),
  };
}

/** Rows of several hook points belong together only when they stand for the same stretches of sound. */
export function checkClocks(model: Model, hooks: readonly HookPoint[], familyOf: (cut: Model) => Family): void {
  const clocks = hooks.map(({ tensor }) => familyOf(cutAt(model, [tensor])));
  const [first] = clocks;
  const other = clocks.findIndex(({ hop, fewestSamples }) => hop !== first!.hop || fewestSamples !== first!.fewestSamples);
  if (other < 0) return;
  const describe = (n: number): string => {
    const { hop, fewestSamples, sampleRate } = clocks[n]!;
    const milliseconds = (samples: number): string => Number(((1000 * samples) / sampleRate).toFixed(3)).toString();
    return `'${hooks[n]!.name}' has a frame every ${milliseconds(hop)} ms, the first one needs ${milliseconds(fewestSamples)} ms`;
  };
  throw new CochleaError('hook', `${model.file}: ${describe(0)}; ${describe(other)}`, 'choose hook points with the same frame clock');
}

/** A model read and cut off behind the last of its hooks: plain data, from which encoders can be opened, in other threads too. */
export interface PreparedEncoder {
  readonly model: Encoder['model'];
  readonly path: string;
  readonly hooks: readonly HookPoint[];
  readonly backend: Backend;
  readonly family: Omit<FamilyOptions, 'features' | 'spectrogram'>;
  readonly cut: DetachedModel;
}

/** Reads a model and cuts it off behind the last of some hook points. Throws what openMultiEncoder throws, but for what ONNX Runtime finds. */
export async function prepareEncoder(options: MultiEncoderOptions): Promise<PreparedEncoder> {
  const backend = await chooseBackend(options.backend, options.onProgress);
  const inMemory = typeof options.model === 'string' ? undefined : options.model;
  const { name, path, source } = inMemory ? { name: inMemory.name, path: inMemory.name, source: inMemory.name }
    : await resolveModel(options.model as string, options.onProgress);
  const { model, sha256, bytes } = inMemory ? await takeModel(inMemory.bytes, name) : await readModel(path);
  const named = findHooks(model);
  const hooks = options.hooks.map((hook) => resolveHook(model, named, hook, inMemory ? name : options.model as string));
  const cut = cutAt(model, hooks.map(({ tensor }) => tensor));
  const { family, input, mean, std, maxSeconds, normalize, sampleRate } = options;
  const asked = Object.entries({ family, input, mean, std, maxSeconds, normalize, sampleRate }).filter(([, value]) => value !== undefined);
  const stated: FamilyOptions = { ...(inMemory ? {} : await readStated(path)), ...Object.fromEntries(asked) };
  const familyOf = (part: Model): Family => chooseFamily(model, part, { ...stated, features: options.features, spectrogram: options.spectrogram });
  const chosen = { ...stated, family: familyOf(cut).name };
  checkClocks(model, hooks, familyOf);
  const detached = await detachWeights(cut, inMemory ? '' : runtime.paths.dirname(path), { keepExternal: backend.name === 'native' });
  return { model: { name, family: chosen.family, sha256, source }, path, hooks, backend, family: chosen, cut: inMemory ? detached : leaveStored(detached, bytes, path) };
}

/** Opens a prepared model. Throws `model` when ONNX Runtime refuses it, and `hook` for tensors that turn out not to have one vector per frame. */
export async function startEncoder(
  { model, path, hooks, backend, family: options, cut }: PreparedEncoder,
  { features, spectrogram, threads, device }: Pick<MultiEncoderOptions, 'features' | 'spectrogram' | 'threads' | 'device'>,
): Promise<MultiEncoder> {
  const graph = parseModel(cut.bytes, path);
  const family = chooseFamily(graph, graph, { ...options, features, spectrogram });
  const session = await openSession(cut, path, threads, backend.name, device);
  let streams: { hook: HookPoint; layout: Layout }[];
  try {
    let silence: Promise<ReadonlyMap<string, RunOutput>> | undefined;
    const observe = async (hook: HookPoint): Promise<Layout> => {
      const samples = new Float32Array(family.fewestSamples + Math.ceil(4 * family.hop));
      const outputs = await (silence ??= session.run(family.feed(samples)));
      return observedLayout(outputs.get(hook.tensor)!, family.windows(samples.length)[0]!.rows, hook, family, path);
    };
    streams = [];
    for (const hook of hooks) {
      const shape = session.shapes.get(hook.tensor)!;
      streams.push({ hook: { ...hook, shape }, layout: promisedLayout(shape, family) ?? await observe(hook) });
    }
  } catch (error) {
    await session.close();
    throw error;
  }
  let open = true;
  return {
    model, backend,
    hooks: streams.map(({ hook, layout: { dIn } }) => ({ hook, dIn })),
    sampleRate: family.sampleRate,
    frameRate: family.sampleRate / family.hop,
    async encode(samples) {
      checkSamples(samples, family);
      const clip = family.prepare(samples), windows = family.windows(samples.length);
      const rows = windows.reduce((sum, window) => sum + window.rows, 0);
      const frames: Float32Array[] = [];
      let row = 0;
      for (const window of windows) {
        const outputs = await session.run(family.feed(clip.subarray(window.from, window.to)));
        for (const [n, { hook, layout }] of streams.entries()) {
          const own = framesOf(outputs.get(hook.tensor)!, layout, window.rows, family, path);
          if (windows.length === 1) frames[n] = own;
          else (frames[n] ??= new Float32Array(rows * layout.dIn)).set(own, row * layout.dIn);
        }
        row += window.rows;
      }
      // Only the last window is padded.
      return { frames, rows, valid: rows - windows.at(-1)!.rows + windows.at(-1)!.valid };
    },
    ...(session.runOnGpu && device && { encodeOnGpu: gpuEncoding(session.runOnGpu, device, family, streams, path) }),
    async close() {
      if (open) await session.close();
      open = false;
    },
  };
}

/**
 * Opens a model cut off behind the last of some hook points: nothing behind it is loaded or computed.
 * Throws CochleaError `hook` for a hook the model does not have and for hooks whose frames come at different times, `model` for
 * a file that is no usable encoder, `fetch` when a known model cannot be brought here, `file-missing` for a path where nothing is,
 * `runtime` when the native backend is asked for and cannot be had.
 */
export async function openMultiEncoder(options: MultiEncoderOptions): Promise<MultiEncoder> {
  return startEncoder(await prepareEncoder(options), options);
}

/** Opens a model cut off at one hook point; throws as `openMultiEncoder`. */
export async function openEncoder({ hook: name, ...options }: EncoderOptions): Promise<Encoder> {
  const { hooks: [own], encode, ...rest } = await openMultiEncoder({ ...options, hooks: [name] });
  const { hook, dIn } = own!;
  return {
    ...rest, hook, dIn,
    async encode(samples) {
      const { frames: [frames], rows, valid } = await encode(samples);
      return { frames: frames!, rows, dIn, valid };
    },
  };
}
