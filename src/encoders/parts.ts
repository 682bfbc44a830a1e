/** A model as two sessions, one up to a tensor and one from there to an output. */
import { runtime } from '../runtime/index.ts';
import { cutAt, type Model } from './graph.ts';
import { wide } from './half.ts';
import { openSession, type HeldTensor, type RunInput, type RunOutput, type Session } from './session.ts';
import { continuation, declareInput, partBefore, partBehind } from './split.ts';
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

/** Sessions that are closed together. */
function sessionsOf(path: string, threads: number | undefined) {
  const sessions: Session[] = [];
  return {
    async open(part: Model): Promise<Session> {
      const session = await openSession(await detachWeights(part, runtime.paths.dirname(path)), path, threads);
      sessions.push(session);
      return session;
    },
    async close(): Promise<void> {
      for (const session of sessions.splice(0)) await session.close();
    },
  };
}

/** How the two are run; apart from what opens them, so that the file's bytes are not kept. */
function run(first: Session, second: Session | undefined, taken: ReadonlySet<string>, tensor: string, beside: readonly string[], output: string): Pick<Parts, 'before' | 'behind'> {
  return {
    async before(inputs) {
      const held = await first.pass(Object.fromEntries(Object.entries(inputs).filter(([name]) => taken.has(name))));
      return { tensor: first.read(tensor, held.get(tensor)!), carried: Object.fromEntries(beside.map((name) => [name, held.get(name) ?? inputs[name]!])) };
    },
    behind: async (other, carried) => (second ? (await second.run({ ...carried, [tensor]: other })).get(output)! : other),
  };
}

/**
 * Cuts a model at a tensor that one of its nodes makes. Both parts give the bits that the whole gives, unless the tensor lies in the
 * midst of operations that ONNX Runtime replaces by one, such as a GELU written out: then those of the whole that shows the tensor too.
 * Throws CochleaError `hook` when the output does not depend on the tensor.
 */
export async function openParts(model: Model, tensor: string, output: string, path: string, threads: number | undefined): Promise<Parts> {
  const follows = continuation(model, tensor, output), inputs = new Map(model.inputs.map((input) => [input.name, input]));
  const handed = [tensor, ...follows.carried], made = handed.filter((name) => !inputs.has(name));
  const { open, close } = sessionsOf(path, threads);
  try {
    const before = cutAt(model, made);
    let first = await open(before);
    // Of an output that is the tensor itself what counts is what leaves the session.
    const halves = new Set(output === tensor ? [] : made.filter((name) => first.types.get(name) === 'float16'));
    if (halves.size > 0) {
      await close();
      first = await open(partBefore(model, made, halves));
    }
    const between = handed.map((name) => (halves.has(name) ? wide(name) : name));
    const given = between.map((name) => inputs.get(name) ?? declareInput(name, first.types.get(name)!, first.shapes.get(name)!, path));
    const second = output === tensor ? undefined : await open(partBehind(model, follows, given, halves, output));
    const [own, ...beside] = between as [string, ...string[]];
    return {
      shape: first.shapes.get(own)!, outputShape: (second ?? first).shapes.get(output)!, close,
      ...run(first, second, new Set(before.inputs.map(({ name }) => name)), own, beside, output),
    };
  } catch (error) {
    await close();
    throw error;
  }
}
