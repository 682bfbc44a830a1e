/** An SAE, a model in two parts and recordings, put together: what the model still does with the SAE's reconstruction. */
import { type Clip, loadClip } from '../audio/index.ts';
import type { SpliceableModel, SplicedClip } from '../encoders/index.ts';
import { CochleaError } from '../errors.ts';
import { type Behaviour, type BehaviourClip, evaluateBehaviour, surveyClips, type TargetKind, type Watch, wordNormalisation } from '../evaluation/index.ts';
import type { Gpu } from '../gpu/index.ts';
import { runtime } from '../runtime/index.ts';
import { type BaseConfig, refuseTranscoder, SAE } from '../sae/index.ts';
import { readInputMean, type TrainerConfig, type Untrained, type UntrainedOptions, untrainedSae } from '../training/index.ts';
import { chooseClips, type ClipOptions, Skipped } from './recordings/clips.ts';
import { openTwoParts, type TwoPartsOptions } from './recordings/two-parts.ts';
import { checkFrames, trainedOn } from './recordings/trained-on.ts';

export interface SplicedSaeOptions extends Omit<TwoPartsOptions, 'model' | 'hook'> {
  gpu: Gpu;
  /** Folder of the SAE. */
  sae: string;
  /** What the SAE was trained on, unless told. */
  model?: string | undefined;
  hook?: string | undefined;
}

export interface SplicedSae {
  sae: SAE;
  model: SpliceableModel;
  close(): Promise<void>;
}

/**
 * Loads an SAE and opens the model that it was trained on in two parts. Throws `config` for transcoders and for an SAE of another width, `usage` when nothing
 * says which model or hook point, and what SAE.load and openTwoParts throw.
 */
export async function openSplicedSae(options: SplicedSaeOptions): Promise<SplicedSae> {
  const sae = await SAE.load(options.gpu, options.sae);
  let model: SpliceableModel | undefined;
  try {
    refuseTranscoder(sae);
    model = await openTwoParts({ ...options, ...trainedOn(sae, options) });
    const { model: { name, sha256 }, hook, dIn, frameRate } = model;
    checkFrames(sae, { model: name, modelSha256: sha256, hook: hook.name, dIn, frameRate }, options.onNotice);
  } catch (error) {
    sae.dispose();
    await model?.close();
    throw error;
  }
  const open = model;
  return {
    sae, model: open,
    async close() {
      sae.dispose();
      await open.close();
    },
  };
}

export interface BehaviourJobOptions extends SplicedSaeOptions, Watch, ClipOptions {
  /** What the tokens of cross-entropy and KL are. Unless told: the clips' texts when all have one, else what the untouched model says. */
  targets?: TargetKind | undefined;
  /** Of the bootstrap and of units. */
  seed?: number;
  resamples?: number;
}

export interface BehaviourReport extends Behaviour {
  settings: {
    sae: string; architecture: string; model: string; model_sha256: string; hook: string; head: 'seq2seq' | 'ctc' | null;
    audio: string[]; select: Record<string, string>; take: number | null; language: string | null;
    targets: TargetKind | null; targets_reason: string;
    /** Whose mean frame mean ablation, and the untrained SAE, have. */
    mean: 'training frames' | 'evaluated frames';
    /** Of the untrained SAE's initialisation; null where there is none. */
    untrained_seed: number | null;
    words: string;
  };
}

/** Scores what the model still does with the SAE's reconstructions of some recordings; see evaluateBehaviour. */
export async function scoreBehaviour(options: BehaviourJobOptions): Promise<BehaviourReport> {
  const { gpu, sae: folder, audio, select = {}, take, strict = false, language, seed = 0, resamples = 1000, signal, onProgress, onNotice } = options;
  const chosen = await chooseClips(options);
  const skipped = new Skipped(options, chosen.problems);
  const { sae, model, close } = await openSplicedSae(options);
  let untrained: Untrained | undefined;
  try {
    const files = new Map(chosen.clips.map((clip) => [clip.id, clip]));
    const open = (clip: BehaviourClip): Promise<SplicedClip | undefined> => skipped.unless(files.get(clip.id)!, () => openRecording(model, files.get(clip.id)!));
    const { targets, reason } = chooseTargets(model, chosen.clips, options.targets);
    if (model.head) onNotice?.(`targets: ${targets === 'text' ? 'the clips\' texts' : 'the untouched model\'s own words'} (${reason})`);
    const survey = await surveyClips(model, chosen.clips.map(({ id, labels: { text } }) => ({ id, text })), open, { seed, signal, onProgress });
    const stored = await readInputMean(folder, sae.dIn);
    const mean = stored ?? survey.mean;
    untrained = await untrainedSae({ gpu, config: sae.config, ...await trainedAs(folder), mean, frames: survey.sample });
    const behaviour = await evaluateBehaviour({
      model, sae, untrained: 'reason' in untrained ? untrained : untrained.sae, mean, survey, open, targets, seed, resamples, strict, signal, onProgress,
      onSkip: (line) => onNotice?.(`skipped ${line}`),
    });
    const wer = behaviour.conditions.untouched!['wer']?.value ?? 0;
    if (wer > hopeless) {
      onNotice?.(`the untouched model gets ${(100 * wer).toFixed(0)} % of the texts' words wrong: are they in a language that it knows?${targets === 'text' ? ' --targets own asks what becomes of its own words' : ''}`);
    }
    return {
      ...behaviour, skipped: [...skipped.lines, ...behaviour.skipped],
      settings: {
        sae: folder, architecture: sae.config.architecture, model: model.model.name, model_sha256: model.model.sha256, hook: model.hook.name, head: model.head?.kind ?? null,
        audio, select, take: take ?? null, language: language ?? null, targets: model.head ? targets : null, targets_reason: reason,
        mean: stored ? 'training frames' : 'evaluated frames', untrained_seed: 'seed' in untrained ? untrained.seed : null, words: wordNormalisation,
      },
    };
  } finally {
    untrained?.sae?.dispose();
    await close();
  }
}

/** Above this word error rate the texts are hardly what the model hears. */
const hopeless = 0.5;

/** One kind for all clips: cross-entropies of texts and of a model's own words are different things, and are not averaged. */
function chooseTargets({ head }: SpliceableModel, clips: readonly Clip[], asked: TargetKind | undefined): { targets: TargetKind; reason: string } {
  if (!head) return { targets: 'own', reason: 'the model has no head' };
  const without = clips.filter(({ labels: { text } }) => text === undefined || text.trim() === '').length;
  if (asked === 'own') return { targets: 'own', reason: 'as asked' };
  if (head.encode === undefined) {
    if (asked === 'text') throw new CochleaError('usage', 'the model\'s tokenizer cannot encode texts', 'take --targets own');
    return { targets: 'own', reason: 'the model\'s tokenizer cannot encode texts' };
  }
  if (asked === 'text') {
    if (without === clips.length) throw new CochleaError('usage', `none of ${clips.length} clips has a label \`text\``, 'take --targets own, or give a manifest with texts');
    return { targets: 'text', reason: 'as asked' };
  }
  return without === 0 ? { targets: 'text', reason: 'every clip has one' } : { targets: 'own', reason: `${without} of ${clips.length} clips have no text` };
}

/** One recording in the model. */
export async function openRecording(model: SpliceableModel, clip: Clip): Promise<SplicedClip> {
  return model.open((await loadClip(clip, model.sampleRate)).samples);
}

/** What run.json says of how the SAE was trained. */
async function trainedAs(folder: string): Promise<Pick<UntrainedOptions, 'trainedAs' | 'biasInitialisation'>> {
  const path = runtime.paths.join(folder, 'run.json');
  if (!await runtime.files.info(path)) return {};
  try {
    const { sae, training } = JSON.parse(await runtime.files.readText(path)) as { sae?: BaseConfig; training?: TrainerConfig };
    return { trainedAs: sae, biasInitialisation: training?.b_dec_init_method };
  } catch {
    throw new CochleaError('file-damaged', `${path} is not JSON`, 'the SAE beside it can be used without it');
  }
}
