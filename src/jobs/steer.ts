/** Steering one recording: what `cochlea steer` does, without its flags. */
import { listClips } from '../audio/index.ts';
import { CochleaError } from '../errors.ts';
import { steerClip, type Steering } from '../evaluation/index.ts';
import type { SparseActs } from '../sae/index.ts';
import { openRecording, openSplicedSae, type SplicedSaeOptions } from './behaviour.ts';
import { Skipped } from './recordings/clips.ts';

/** Strengths are multiples of `unit` for add and set, and factors for scale; zero and swap have none. */
export type SteerMode = 'add' | 'scale' | 'set' | 'zero' | 'swap';

export const steerModes = ['add', 'scale', 'set', 'zero'] as const satisfies readonly SteerMode[];

export const usualStrengths: Readonly<Record<'add' | 'scale' | 'set', readonly number[]>> = { add: [-2, -1, 1, 2], scale: [0, 0.5, 2, 4], set: [0, 0.5, 1, 2] };

export interface SteerJobOptions extends SplicedSaeOptions {
  clip: string;
  latent: number;
  mode: SteerMode;
  /** Unless told `usualStrengths`. */
  strengths?: readonly number[] | undefined;
  /** The activation that strength 1 stands for. Unless told the latent's largest over the clip. */
  unit?: number | undefined;
  /** With mode `swap`: the recording whose activations the latent gets. */
  swapFrom?: string | undefined;
  error?: 'kept' | 'dropped';
  controls?: number;
  seed?: number;
  onProgress?: ((progress: { run: number; runs: number }) => void) | undefined;
}

export interface SteerReport extends Steering {
  settings: {
    sae: string; architecture: string; model: string; model_sha256: string; hook: string; clip: string; mode: SteerMode;
    strengths: readonly number[] | null; unit: number | null; unit_is: string; swap_from: string | null;
    /** With mode swap: frames of the other recording, and how many of the clip's got its activations. */
    swap_frames: number | null; swapped: number | null;
    error: 'kept' | 'dropped'; controls: number; seed: number;
  };
}

/** Throws `usage` for options that do not go together, and when strengths are multiples of the activation of a latent that never fires; `audio` for a recording that cannot be used. */
export async function steer(options: SteerJobOptions): Promise<SteerReport> {
  const { sae: folder, clip: path, latent, mode, unit, swapFrom, error = 'kept', controls = 4, seed = 0, signal, onProgress, onNotice } = options;
  const hasUnit = mode === 'add' || mode === 'set';
  if (options.strengths && (mode === 'zero' || mode === 'swap')) throw new CochleaError('usage', `mode ${mode} has no strengths`, 'leave --strengths away');
  if (unit !== undefined && !hasUnit) throw new CochleaError('usage', `mode ${mode} has no unit`, 'leave --unit away');
  const { sae, model, close } = await openSplicedSae(options);
  try {
    if (latent >= sae.dSae) throw new CochleaError('usage', `there is no latent ${latent}`, `the SAE has latents 0 to ${sae.dSae - 1}`);
    const other = swapFrom === undefined ? undefined : await openOne(swapFrom);
    const swapped: SparseActs | undefined = other && (await sae.run(other.frames)).acts;
    other?.dispose();
    const clip = await openOne(path);
    let used = 0;
    const steering = await steerClip({
      model, sae, clip, latent, error, controls, seed, signal, onProgress,
      edits: ({ largest }) => {
        used = unit ?? largest;
        if (hasUnit && used === 0) throw new CochleaError('usage', `latent ${latent} never fires in ${path}, so that a strength has no unit`, 'give --unit in its own activation, or another clip');
        const latents = [latent];
        if (mode === 'zero') return [{ strength: null, edit: { kind: 'zero', latents } }];
        if (mode === 'swap') return [{ strength: null, edit: { kind: 'swap', latents, with: swapped! } }];
        return (options.strengths ?? usualStrengths[mode]).map((strength) => ({
          strength,
          edit: mode === 'scale' ? { kind: 'scale', latents, factor: strength } : mode === 'set' ? { kind: 'set', latents, value: strength * used } : { kind: 'add', latents, amount: strength * used },
        }));
      },
    });
    if (swapped && swapped.rows !== clip.rows) onNotice?.(`${path} has ${clip.rows} frames and ${swapFrom} ${swapped.rows}: row by row the first ${Math.min(clip.rows, swapped.rows)} were swapped`);
    clip.dispose();
    return {
      ...steering,
      settings: {
        sae: folder, architecture: sae.config.architecture, model: model.model.name, model_sha256: model.model.sha256, hook: model.hook.name, clip: path, mode,
        strengths: mode === 'zero' || mode === 'swap' ? null : options.strengths ?? usualStrengths[mode],
        unit: hasUnit ? used : null, unit_is: !hasUnit ? (mode === 'scale' ? 'factors of the latent\'s own activation' : 'none') : unit === undefined ? 'the latent\'s largest activation over the clip' : 'as given',
        swap_from: swapFrom ?? null, swap_frames: swapped?.rows ?? null, swapped: swapped ? Math.min(swapped.rows, clip.rows) : null, error, controls, seed,
      },
    };
  } finally {
    await close();
  }

  async function openOne(file: string) {
    const { clips: [only], clips, problems } = await listClips([file]);
    if (clips.length !== 1) throw new CochleaError('usage', `${file} holds ${clips.length} recordings`, 'steering takes one at a time');
    const strictly = new Skipped({ strict: true, onNotice }, problems);
    return (await strictly.unless(only!, () => openRecording(model, only!)))!;
  }
}
