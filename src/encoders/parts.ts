/** A model as two sessions, one up to a tensor and one from there to an output. */
import { runtime } from '../runtime/index.ts';
import { cutAt, type Model } from './graph.ts';
import { openSession, type HeldTensor, type RunInput, type RunOutput, type Session } from './session.ts';
import { continuation, declareInput, partBefore, partBehind, wide } from './split.ts';
import { detachWeights } from './weights.ts';

type Inputs = Readonly<Record<string, RunInput | HeldTensor>>;

export interface Parts {
  /** Of the tensor between the two, as `Session.shapes`. */
  readonly shape: readonly (number | string)[];
  /** Of the output. */
  readonly outputShape: readonly (number | string)[];
  /** The tensor for the model's inputs, and all that the second part wants beside it. */
  before(inputs: Readonly<Record<string, RunInput>>): Promise<{ tensor: RunOutput; carried: Inputs }>;
  /** The output for a tensor. */
  behind(tensor: RunOutput, carried: Inputs): Promise<RunOutput>;
  close(): Promise<void>;
}

/**
 * Cuts a model at a tensor that one of its nodes makes. Both parts give the bits that the whole gives, unless the tensor lies in the
 * midst of operations that ONNX Runtime replaces by one, such as a GELU written out: then those of the whole that shows the tensor too.
 * Throws CochleaError `hook` when the output does not depend on the tensor.
 */
export async function openParts(model: Model, tensor: string, output: string, path: string, threads: number | undefined): Promise<Parts> {
  const behind = continuation(model, tensor, output), inputs = new Map(model.inputs.map((input) => [input.name, input]));
  const handed = [tensor, ...behind.carried], made = handed.filter((name) => !inputs.has(name));
  const sessions: Session[] = [];
  const open = async (part: Model): Promise<Session> => {
    const session = await openSession(await detachWeights(part, runtime.paths.dirname(path)), path, threads);
    sessions.push(session);
    return session;
  };
  const close = async (): Promise<void> => {
    for (const session of sessions.splice(0)) await session.close();
  };
  try {
    let first = await open(cutAt(model, made));
    // Of an output that is the tensor itself what counts is what leaves the session.
    const halves = new Set(output === tensor ? [] : made.filter((name) => first.types.get(name) === 'float16'));
    if (halves.size > 0) {
      await close();
      first = await open(partBefore(model, made, halves));
    }
    const before = new Set(cutAt(model, made).inputs.map(({ name }) => name));
    const between = (name: string): string => (halves.has(name) ? wide(name) : name);
    const given = handed.map((name) => inputs.get(name) ?? declareInput(between(name), first.types.get(between(name))!, first.shapes.get(between(name))!, path));
    const second = output === tensor ? undefined : await open(partBehind(model, behind, given, halves, output));
    const own = between(tensor);
    return {
      shape: first.shapes.get(own)!, outputShape: (second ?? first).shapes.get(output)!, close,
      async before(all) {
        const held = await first.pass(Object.fromEntries(Object.entries(all).filter(([name]) => before.has(name))));
        const carried = behind.carried.map((name) => [between(name), held.get(between(name)) ?? all[name]!] as const);
        return { tensor: first.read(own, held.get(own)!), carried: Object.fromEntries(carried) };
      },
      behind: async (other, carried) => (second ? (await second.run({ ...carried, [own]: other })).get(output)! : other),
    };
  } catch (error) {
    await close();
    throw error;
  }
}
