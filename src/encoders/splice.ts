/**
 * A model cut in two at a hook point, so that what follows runs on other frames than the model's own. The two parts are sessions of
 * their own; between them go the hook tensor and what else the second part reads of the first (split.ts).
 */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import {
  checkClocks, checkSamples, framesOf, observedLayout, promisedLayout, readStated, type Layout,
} from './encoder.ts';
import { chooseFamily, type Family, type FamilyOptions, type Window } from './families.ts';
import { cutAt, type Model } from './graph.ts';
import { findHooks, resolveHook } from './hooks.ts';
import { openHead } from './heads/index.ts';
import { resolveModel } from './models.ts';
import { openSession, type HeldTensor, type RunInput, type RunOutput, type Session } from './session.ts';
import type { EncoderOutput, SpliceableModel, SpliceableOptions, SplicedClip } from './speech.ts';
import { continuation, declareInput, partOf } from './split.ts';
import { detachWeights, readModel } from './weights.ts';

/** What is kept of a window between the two parts. */
interface HeldWindow {
  readonly window: Window;
  readonly firstRow: number;
  readonly seconds: number;
  /** The hook tensor. */
  readonly own: RunOutput;
  readonly carried: Readonly<Record<string, HeldTensor | RunInput>>;
}

/** The hook tensor with `frames` [valid, dIn] in place of its rows of sound; the inverse of `framesOf`. */
function withFrames({ data, dims }: RunOutput, frames: Float32Array, { dIn, rowsFirst }: Layout, { rows, valid }: Window, family: Family): RunOutput {
  const placed = data.slice(), actual = data.length / dIn;
  for (let row = 0; row < valid; row++) {
    const place = family.order ? actual - rows + family.order.place(row) : row;
    for (let i = 0; i < dIn; i++) placed[rowsFirst ? place * dIn + i : i * actual + place] = frames[row * dIn + i]!;
  }
  return { data: placed, dims };
}

/** The model's own output: the first that is made of its sound. */
function ownOutput(model: Model): string {
  const output = findHooks(model).find(({ kind }) => kind === 'output');
  if (!output) throw new CochleaError('model', `${model.file}: none of its outputs is made of its input`);
  return output.tensor;
}

/**
 * Opens a model cut in two at a hook point, with its head where it has one.
 * Throws as `openEncoder`, and CochleaError `hook` when the model's output does not depend on the hook point or has another frame clock.
 */
export async function openSpliceable(options: SpliceableOptions): Promise<SpliceableModel> {
  const { name, path, source } = await resolveModel(options.model, options.onProgress);
  const { model, sha256 } = await readModel(path);
  const hook = resolveHook(model, findHooks(model), options.hook, options.model);
  const output = ownOutput(model), rest = continuation(model, hook.tensor, output);
  const whole = cutAt(model, [output]), inputs = new Map(whole.inputs.map((input) => [input.name, input]));
  const before = cutAt(model, [hook.tensor, ...rest.carried.filter((tensor) => !inputs.has(tensor))]);
  const stated = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const familyOptions: FamilyOptions = { ...await readStated(path), ...stated };
  const family = chooseFamily(model, { ...cutAt(model, [hook.tensor]), inputs: whole.inputs }, familyOptions);
  const feed = (samples: Float32Array): { all: Record<string, RunInput>; first: Record<string, RunInput> } => {
    const all = family.feed(samples);
    return { all, first: Object.fromEntries(before.inputs.map(({ name }) => [name, all[name]!])) };
  };
  checkClocks(model, [hook, { ...hook, name: 'encoder.out', tensor: output }], (part) => chooseFamily(model, part, familyOptions));
  const folder = runtime.paths.dirname(path);

  const sessions: Session[] = [];
  const open = async (part: Model): Promise<Session> => {
    const session = await openSession(await detachWeights(part, folder), path, options.threads);
    sessions.push(session);
    return session;
  };
  const close = async (): Promise<void> => {
    for (const session of sessions.splice(0)) await session.close();
  };
  try {
    const first = await open(before);
    const shape = first.shapes.get(hook.tensor)!;
    let layout = promisedLayout(shape, family);
    if (!layout) {
      const silence = new Float32Array(family.fewestSamples + Math.ceil(4 * family.hop));
      const { rows } = family.windows(silence.length)[0]!;
      const made = (await first.pass(feed(silence).first)).get(hook.tensor)!;
      layout = observedLayout(first.read(hook.tensor, made), rows, hook, family, path);
    }
    const own = layout;
    const given = [hook.tensor, ...rest.carried].map((tensor) => inputs.get(tensor) ?? declareInput(tensor, first.types.get(tensor)!, first.shapes.get(tensor)!, path));
    const second = output === hook.tensor ? undefined : await open(partOf(model, rest, given, output));

    const outputOf = ({ data, dims }: RunOutput, { window, seconds }: HeldWindow): EncoderOutput => {
      const width = dims.at(-1)!, rows = data.length / width;
      const perFrame = dims.length === 3 && rows >= window.rows && rows <= window.rows + (family.order?.mostBefore ?? 0);
      if (!perFrame) return { data, dims, frames: data, valid: 1, seconds };
      const frames = framesOf({ data, dims }, { dIn: width, rowsFirst: true }, window.rows, family, path);
      return { data, dims, frames: frames.subarray(0, window.valid * width), valid: window.valid, seconds };
    };
    const hold = async (samples: Float32Array, window: Window, firstRow: number): Promise<HeldWindow> => {
      const { all, first: own } = feed(samples.subarray(window.from, window.to)), held = await first.pass(own);
      const carried = Object.fromEntries(rest.carried.map((tensor) => [tensor, held.get(tensor) ?? all[tensor]!]));
      return {
        window, firstRow, seconds: (window.to - window.from) / family.sampleRate, own: first.read(hook.tensor, held.get(hook.tensor)!), carried,
      };
    };
    const width = second ? second.shapes.get(output)!.at(-1) : own.dIn;
    const head = options.head === false ? undefined : await openHead({ path, name, family: family.name, width: typeof width === 'number' ? width : undefined, options });
    return {
      model: { name, family: family.name, sha256, source }, hook: { ...hook, shape }, dIn: own.dIn, head,
      sampleRate: family.sampleRate, frameRate: family.sampleRate / family.hop,
      async open(samples): Promise<SplicedClip> {
        checkSamples(samples, family);
        const clip = family.prepare(samples);
        let held: HeldWindow[] = [], rows = 0;
        for (const window of family.windows(samples.length)) {
          held.push(await hold(clip, window, rows));
          rows += window.valid;
        }
        const frames = new Float32Array(rows * own.dIn);
        for (const { own: tensor, window, firstRow } of held) {
          frames.set(framesOf(tensor, own, window.rows, family, path).subarray(0, window.valid * own.dIn), firstRow * own.dIn);
        }
        return {
          frames, rows, windows: held.map(({ window, firstRow }) => ({ firstRow, rows: window.valid })),
          async rest(other) {
            if (held.length === 0) throw new CochleaError('usage', 'the clip was disposed of');
            if (other.length !== frames.length) {
              throw new CochleaError('usage', `the clip has ${rows} frames of ${own.dIn}, ${frames.length} numbers, and ${other.length} were given`);
            }
            const outputs: EncoderOutput[] = [];
            for (const part of held) {
              const end = part.firstRow + part.window.valid;
              const spliced = withFrames(part.own, other.subarray(part.firstRow * own.dIn, end * own.dIn), own, part.window, family);
              const made = second ? (await second.run({ ...part.carried, [hook.tensor]: spliced })).get(output)! : spliced;
              outputs.push(outputOf(made, part));
            }
            return outputs;
          },
          dispose() {
            held = [];
          },
        };
      },
      async close() {
        await head?.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
