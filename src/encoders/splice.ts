/** A model cut in two at a hook point, so that what follows can be run on other frames than the model's own. */
import { CochleaError } from '../errors.ts';
import { checkClocks, readStated } from './encoder.ts';
import { chooseFamily, type Family, type FamilyOptions, type Window } from './families.ts';
import { cutAt, type Model } from './graph.ts';
import { openHead } from './heads/index.ts';
import { findHooks, resolveHook } from './hooks.ts';
import { checkSamples, framesOf, type Layout, observedLayout, promisedLayout } from './layout.ts';
import { resolveModel } from './models.ts';
import { openParts, type Parts } from './parts.ts';
import type { RunOutput } from './session.ts';
import type { EncoderOutput, SpliceableModel, SpliceableOptions, SplicedClip } from './speech.ts';
import { readModel } from './weights.ts';

/** What is kept of a window between the two parts. */
interface HeldWindow extends Awaited<ReturnType<Parts['before']>> {
  readonly window: Window;
  /** Of the clip's rows. */
  readonly firstRow: number;
}

/** The hook tensor with `frames` [valid, dIn] in place of its rows of sound: the inverse of `framesOf`. */
function withFrames({ data, dims }: RunOutput, frames: Float32Array, { dIn, rowsFirst }: Layout, { rows, valid }: Window, family: Family): RunOutput {
  const placed = data.slice(), actual = data.length / dIn;
  for (let row = 0; row < valid; row++) {
    const place = family.order ? actual - rows + family.order.place(row) : row;
    for (let i = 0; i < dIn; i++) placed[rowsFirst ? place * dIn + i : i * actual + place] = frames[row * dIn + i]!;
  }
  return { data: placed, dims };
}

function outputOf({ data, dims }: RunOutput, { rows, valid, from, to }: Window, family: Family, file: string): EncoderOutput {
  const width = dims.at(-1) ?? 1, made = data.length / width, seconds = (to - from) / family.sampleRate;
  const perFrame = dims.length === 3 && dims[0] === 1 && made >= rows && made <= rows + (family.order?.mostBefore ?? 0);
  if (!perFrame) return { data, dims, frames: data, valid: 1, seconds };
  const frames = framesOf({ data, dims }, { dIn: width, rowsFirst: true }, rows, family, file);
  return { data, dims, frames: frames.subarray(0, valid * width), valid, seconds };
}

/** Everything that is read of the model's file, apart, so that the file's bytes are not kept for as long as the model is open. */
async function openFile(options: SpliceableOptions) {
  const { name, path, source } = await resolveModel(options.model, options.onProgress);
  const { model, sha256 } = await readModel(path);
  const named = findHooks(model), hook = resolveHook(model, named, options.hook, options.model);
  const end = named.find(({ kind }) => kind === 'output');
  if (!end) throw new CochleaError('model', `${path}: none of its outputs is made of its input`);
  const stated = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const familyOptions: FamilyOptions = { ...await readStated(path), ...stated };
  const { inputs } = cutAt(model, [end.tensor]);
  const familyOf = (cut: Model): Family => chooseFamily(model, { ...cut, inputs }, familyOptions);
  const family = familyOf(cutAt(model, [hook.tensor]));
  checkClocks(model, [hook, end], familyOf);
  return { name, path, source, sha256, hook, family, parts: await openParts(model, hook.tensor, end.tensor, path, options.threads) };
}

/**
 * Opens a model cut in two at a hook point, with its head where it has one.
 * Throws as `openEncoder`; CochleaError `hook` also when the model's output does not depend on the hook point or has another frame clock.
 */
export async function openSpliceable(options: SpliceableOptions): Promise<SpliceableModel> {
  const { name, path, source, sha256, hook, family, parts } = await openFile(options);
  try {
    let layout = promisedLayout(parts.shape, family);
    if (!layout) {
      const silence = new Float32Array(family.fewestSamples + Math.ceil(4 * family.hop));
      layout = observedLayout((await parts.before(family.feed(silence))).tensor, family.windows(silence.length)[0]!.rows, hook, family, path);
    }
    const own = layout, { dIn } = own, width = parts.outputShape.at(-1);
    const head = options.head === false ? undefined
      : await openHead({ path, name, family: family.name, width: typeof width === 'number' ? width : undefined, options });
    return {
      model: { name, family: family.name, sha256, source }, hook: { ...hook, shape: parts.shape }, dIn, head,
      sampleRate: family.sampleRate, frameRate: family.sampleRate / family.hop,
      async open(samples): Promise<SplicedClip> {
        checkSamples(samples, family);
        const clip = family.prepare(samples);
        let held: HeldWindow[] = [], rows = 0;
        for (const window of family.windows(samples.length)) {
          held.push({ ...await parts.before(family.feed(clip.subarray(window.from, window.to))), window, firstRow: rows });
          rows += window.valid;
        }
        const frames = new Float32Array(rows * dIn);
        for (const { tensor, window, firstRow } of held) {
          frames.set(framesOf(tensor, own, window.rows, family, path).subarray(0, window.valid * dIn), firstRow * dIn);
        }
        return {
          frames, rows, windows: held.map(({ window, firstRow }) => ({ firstRow, rows: window.valid })),
          async rest(other) {
            if (held.length === 0) throw new CochleaError('usage', 'the clip was disposed of');
            if (other.length !== frames.length) {
              throw new CochleaError('usage', `the clip has ${rows} frames of ${dIn}, ${frames.length} numbers, and ${other.length} were given`);
            }
            const outputs: EncoderOutput[] = [];
            for (const { tensor, carried, window, firstRow } of held) {
              const spliced = withFrames(tensor, other.subarray(firstRow * dIn, (firstRow + window.valid) * dIn), own, window, family);
              outputs.push(outputOf(await parts.behind(spliced, carried), window, family, path));
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
        await parts.close();
      },
    };
  } catch (error) {
    await parts.close();
    throw error;
  }
}
