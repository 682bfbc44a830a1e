/** One clip through the rest of the model, with its own frames and with others, and what is counted of it. */
import type { EncoderOutput, SpeechHead, SplicedClip, Transcript } from '../encoders/index.ts';
import { CochleaError } from '../errors.ts';
import { noSums, type Sums } from './behaviour-metrics.ts';
import { crossEntropy, ctcLoss, divergence, mostLikely } from './logits.ts';
import { distances, independence } from './similarity.ts';
import { unitMoves, type Units } from './units.ts';
import { editDistance, words } from './words.ts';

/** What the tokens of cross-entropy and KL are: the clip's text, or what the untouched model says. */
export type TargetKind = 'text' | 'own';

/** What the rest of the model makes of some frames of a clip. */
export interface Reading {
  outputs: readonly EncoderOutput[];
  /** Per window; of a model without a head none. */
  transcripts: readonly (readonly number[])[];
  /** Per window the logits of its positions: of a decoder under teacher forcing on the targets, of a CTC head of its frames. */
  logits: readonly Float32Array[];
  text: string;
}

/** Untouched frames read, and what all other readings of the clip are compared with. */
export interface Reference {
  reading: Reading;
  /** Per window: tokens of a decoder; of a CTC head the tokens of the text, or each frame's most likely one. */
  targets: readonly (readonly number[])[];
  /** Per window: what the decoder was given to start with. */
  prompts: readonly (readonly number[])[];
  kind: TargetKind;
}

/** Every window is decoded from the prompt that the untouched one was: a language that Whisper hears must not change what is compared. */
async function read(outputs: readonly EncoderOutput[], head: SpeechHead, prompts: readonly (readonly number[])[]): Promise<Transcript[]> {
  const found = [];
  for (const [window, output] of outputs.entries()) found.push(await head.transcribe(output, prompts[window]));
  return found;
}

async function finish(outputs: readonly EncoderOutput[], found: readonly Transcript[], head: SpeechHead, { targets, prompts }: Pick<Reference, 'targets' | 'prompts'>): Promise<Reading> {
  const logits = [];
  for (const [window, output] of outputs.entries()) {
    if (head.kind === 'ctc') logits.push(found[window].logits);
    else logits.push(targets[window].length > 0 ? await head.forced(output, targets[window], prompts[window]) : new Float32Array(0));
  }
  return { outputs, transcripts: found.map(({ tokens }) => tokens), logits, text: found.map(({ tokens }) => head.text(tokens)).join(' ').trim() };
}

const unheard = (outputs: readonly EncoderOutput[]): Reading => ({ outputs, transcripts: [], logits: [], text: '' });

/**
 * Reads a clip as it is, or with the frames [rows, dIn] that others are to be compared with. `text`: its words as targets, without which they are the model's own. Throws `audio` for a text whose clip was cut into
 * windows, since nobody knows which words fall into which.
 */
export async function readReference(clip: SplicedClip, head: SpeechHead | undefined, text: string | undefined, frames = clip.frames): Promise<Reference> {
  const outputs = await clip.rest(frames);
  const kind: TargetKind = text === undefined ? 'own' : 'text';
  if (!head) return { reading: unheard(outputs), targets: [], prompts: [], kind };
  if (text !== undefined && outputs.length > 1) {
    throw new CochleaError('audio', `it is longer than the model hears at once (${outputs.length} windows), and its text does not say where they part`, 'cut it, or take the model\'s own words as targets');
  }
  const found = await read(outputs, head, []);
  const prompts = found.map(({ prompt }) => prompt);
  const own = found.map(({ tokens, logits }) => (head.kind === 'ctc' ? mostLikely(logits, head.vocabulary) : tokens));
  const targets = text === undefined ? own : [head.encode!(text)];
  return { reading: await finish(outputs, found, head, { targets, prompts }), targets, prompts, kind };
}

/** Reads the clip with `frames` [rows, dIn] in place of its own. */
export async function readPatched(clip: SplicedClip, head: SpeechHead | undefined, reference: Reference, frames: Float32Array): Promise<Reading> {
  const outputs = await clip.rest(frames);
  return head ? finish(outputs, await read(outputs, head, reference.prompts), head, reference) : unheard(outputs);
}

export interface CountOptions {
  head: SpeechHead | undefined;
  /** Of the clip, for the word error rate. */
  text: string | undefined;
  /** Of a model without a head. */
  units: Units | undefined;
}

/** Counts a reading against the untouched one. Throws `not-finite` when the model gave NaN or infinity, or a CTC head has fewer frames than its text needs. */
export function countReading({ reading: original, targets, kind }: Reference, reading: Reading, { head, text, units }: CountOptions): Sums {
  const sums = noSums();
  sums.firings = NaN;
  reading.outputs.forEach(({ frames, valid }, window) => countOutput(sums, original.outputs[window].frames, frames, frames.length / valid, units, head === undefined));
  if (head) {
    const { vocabulary, blank } = head;
    reading.logits.forEach((logits, window) => {
      const before = original.logits[window], own = targets[window];
      const isText = head.kind === 'ctc' && kind === 'text';
      sums.crossEntropy += isText ? ctcLoss(logits, vocabulary, own, blank!) : crossEntropy(logits, vocabulary, own);
      sums.positions += own.length;
      sums.divergence += divergence(before, logits, vocabulary);
      sums.compared += logits.length / vocabulary;
      const [was, is] = [before, logits].map((rows) => mostLikely(rows, vocabulary));
      was.forEach((token, position) => {
        if (token === blank) return;
        sums.keepable++;
        if (is[position] === token) sums.kept++;
      });
    });
    const said = words(reading.text), ownWords = words(original.text), reference = text === undefined ? undefined : words(text);
    sums.ownWords = ownWords.length;
    sums.wrongOwnWords = editDistance(ownWords, said); // where nothing is said, every word is one too many
    sums.words = reference?.length ?? 0;
    sums.wrongWords = reference ? editDistance(reference, said) : 0;
  }
  if (![sums.crossEntropy, sums.divergence, sums.cosine, sums.ab].every(Number.isFinite)) throw new CochleaError('not-finite', 'what the model gives is NaN or infinite, or too short for the text');
  return sums;
}

function countOutput(sums: Sums, before: Float32Array, after: Float32Array, width: number, units: Units | undefined, isAlone: boolean): void {
  const { rows, cosine } = distances(before, after, width);
  sums.rows += rows;
  sums.cosine += cosine;
  if (!isAlone) return;
  const { aa, ab, bb } = independence(before, after, width);
  sums.aa += aa;
  sums.ab += ab;
  sums.bb += bb;
  if (!units) {
    sums.changedUnits = sums.unitDivergence = NaN;
    return;
  }
  const { changed, divergence: moved } = unitMoves(units, before, after);
  sums.changedUnits += changed;
  sums.unitDivergence += moved;
}
