/** The whole way on the speech that the package ships: recordings, activations, a trained SAE, a page to listen to. */
import { ActivationStore, collect } from '../activations/index.ts';
import { listClips } from '../audio/index.ts';
import { CochleaError } from '../errors.ts';
import type { Evaluation, Segment } from '../evaluation/index.ts';
import type { Gpu } from '../gpu/index.ts';
import { runtime } from '../runtime/index.ts';
import { SAE, topkConfig } from '../sae/index.ts';
import { inferenceForm, inputTransform, type Progress, readMetrics, Trainer, trainerConfig, trainRun } from '../training/index.ts';
import { extractActivations, type ExtractProgress } from './extract.ts';
import { reportOn } from './pages/report.ts';

/** Small enough for two CPU cores and a software adapter, large enough to be worth a look. */
const settings = {
  model: 'moonshine-tiny', hook: 'encoder.layers.3', trainingClips: 64, heldOutClips: 24,
  dSae: 1152, k: 32, batch: 512, steps: 120, lr: 4e-3, warmUp: 5, decay: 30, seed: 42,
} as const;

export interface DemoOptions {
  gpu: Gpu;
  /** Folder of the shipped speech. */
  audio: string;
  out: string;
  version: string;
  signal?: AbortSignal;
  onStage?: (line: string) => void;
  onExtract?: (progress: ExtractProgress) => void;
  onTrain?: (progress: Progress) => void;
}

export interface DemoResult {
  /** Folder of the SAE, which SAELens loads, and path of the page. */
  sae: string;
  report: string;
  evaluation: Evaluation;
  seconds: number;
}

/** Runs the demo. What an earlier, interrupted run left in `out` is used. Throws what its parts throw. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  try {
    return await wholeWay(options);
  } catch (error) {
    if (!(error instanceof CochleaError) || !error.hint?.includes(' with --resume')) throw error;
    throw new CochleaError(error.code, error.message, error.hint.replace(' with --resume', ''), { cause: error }); // it always goes on
  }
}

async function wholeWay(options: DemoOptions): Promise<DemoResult> {
  const { gpu, audio, out, signal, onStage, onExtract, onTrain } = options;
  const { paths, files } = runtime;
  const began = performance.now();
  const { model, hook, dSae, k, batch, steps, lr, warmUp, decay, seed } = settings;
  const manifest = paths.join(audio, 'manifest.csv');
  const stop = signal ? { signal } : {};
  const extract = (split: string, take: number) => extractActivations({
    model, hook, audio: [manifest], select: { split }, take, out: paths.join(out, 'activations', split), resume: true, ...stop,
    onNotice: (line) => onStage?.(line), onProgress: (progress) => onExtract?.(progress),
  });
  onStage?.(`activations of ${settings.trainingClips} recordings at ${hook} of ${model}, to train on`);
  await extract('train', settings.trainingClips);
  onStage?.(`and of ${settings.heldOutClips} others, to score on`);
  await extract('heldout', settings.heldOutClips);
  const source = await ActivationStore.open(paths.join(out, 'activations', 'train'));
  const heldOutSource = await ActivationStore.open(paths.join(out, 'activations', 'heldout'));

  onStage?.(`training ${dSae} latents, ${k} of them per frame: ${steps} steps of ${batch} frames`);
  const folder = paths.join(out, 'sae');
  const sae = topkConfig({ d_in: source.dIn, d_sae: dSae, k, normalize_activations: 'expected_average_only_in' });
  const training = trainerConfig({
    train_batch_size_samples: batch, total_training_samples: batch * steps, lr, lr_warm_up_steps: warmUp, lr_decay_steps: decay, seed,
  });
  await trainRun({
    gpu, source, out: folder, sae, training, centre: true, bufferRows: 65_536, shuffle: true, logEvery: 1, checkpointEvery: 50, resume: true, ...stop,
    record: { cochlea: options.version, command: 'demo' }, onProgress: (progress) => onTrain?.(progress),
  });

  onStage?.('scoring on the held-out recordings, and drawing the page');
  const trained = await SAE.load(gpu, folder);
  const input = await inputTransform(source, sae, true);
  const blank = await Trainer.create({ gpu, sae, training, input });
  const initial = inferenceForm(sae, await blank.weights(), input, {});
  blank.dispose();
  const untrained = await SAE.create(gpu, initial.config, initial.weights);
  const heldOut = await collect(heldOutSource, 1 << 16);
  const amount = ({ manifest: { clips, rows, info } }: ActivationStore) => ({ clips, frames: rows, hours: rows / info.frameRate / 3600 });
  const { html, evaluation } = await reportOn({
    title: 'What layer 3 of Moonshine hears',
    summary: `A TopK sparse autoencoder with ${dSae} latents on the residual stream after block 3 of Moonshine tiny, a speech recogniser, trained in the demo of cochlea. The features below were found in recordings that it was not trained on.`,
    sae: trained, untrained, heldOut, clips: (await listClips([manifest])).clips, mean: input.mean, segments: await phones(paths.join(audio, 'ru', 'phones.csv')),
    recording: heldOut.clips[0]!.id, metrics: await readMetrics(paths.join(folder, 'metrics.jsonl')),
    run: {
      model, hook, layer: 3, frameRate: source.info.frameRate, architecture: 'topk', dIn: source.dIn, dSae, k, steps, batch, seed, adapter: gpu.adapter.description,
      software: [{ name: 'cochlea', version: options.version }, { name: runtime.version.split(' ')[0]!, version: runtime.version.split(' ')[1] ?? '' }],
      training: amount(source), heldOut: amount(heldOutSource),
      licence: 'Recordings: LibriVox readings (public domain, from the test data of PocketSphinx, BSD) and festvox-ru by Nickolay V. Shmyrev (BSD-like). Model: Moonshine tiny (MIT).',
    },
  });
  const report = paths.join(out, 'report.html');
  await files.write(report, html);
  trained.dispose();
  untrained.dispose();
  return { sae: folder, report, evaluation, seconds: (performance.now() - began) / 1000 };
}

/** Phone labels as demo/audio/README.md describes them: clip id, end in seconds, phone; a phone begins where the one before it ends. */
async function phones(path: string): Promise<Map<string, Segment[]>> {
  const tiers = new Map<string, Segment[]>();
  const lines = (await runtime.files.readText(path)).split('\n').slice(1).filter((line) => line !== '');
  lines.forEach((line, index) => {
    const [clip, end, label] = line.split(',');
    if (clip === undefined || label === undefined || !(Number(end) >= 0)) throw new CochleaError('file-damaged', `${path}: line ${index + 2} is not clip,end,phone`);
    const tier = tiers.get(clip) ?? [];
    tiers.set(clip, tier);
    tier.push({ start: tier.at(-1)?.end ?? 0, end: Number(end), label });
  });
  return tiers;
}
