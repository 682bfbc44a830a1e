/** The model and hook points that an SAE was trained on, as its folder says, and whether frames are of that kind. */
import { CochleaError } from '../../errors.ts';
import type { SAE } from '../../sae/index.ts';

export interface HookedModel {
  model: string;
  hook: string;
}

function known({ config: { metadata } }: SAE, what: string, flag: string, given: string | undefined, key: string): string {
  const value = given ?? metadata[key];
  if (typeof value !== 'string' || value === '') throw new CochleaError('usage', `the SAE does not say which ${what} it was trained on`, `give ${flag}`);
  return value;
}

/** What is given wins over what the SAE's metadata say; of a model of the Hub they say the very commit. Throws `usage` where neither says it. */
export function trainedOn(sae: SAE, given: { model?: string | undefined; hook?: string | undefined } = {}): HookedModel {
  const source = sae.config.metadata['model_source'];
  const pinned = typeof source === 'string' && source.startsWith('hf:') ? source : undefined;
  return { model: known(sae, 'model', '--model', given.model ?? pinned, 'model_name'), hook: known(sae, 'hook point', '--hook', given.hook, 'hook_name') };
}

/** The same for the hook point of a transcoder's targets. */
export function trainedToward(sae: SAE, given?: string): string {
  return known(sae, 'target hook point', '--target-hook', given, 'hook_name_out');
}

export interface FrameKind extends HookedModel {
  modelSha256: string;
  dIn: number;
  /** Rows per second. */
  frameRate: number;
}

/** Throws `config` for frames of another width than the SAE's; tells, one line each, what else speaks against their being what it was trained on. */
export function checkFrames(sae: SAE, { model, modelSha256, hook, dIn, frameRate }: FrameKind, onNotice?: (line: string) => void): void {
  if (dIn !== sae.dIn) throw new CochleaError('config', `${hook} of ${model} has ${dIn} numbers per frame, the SAE has d_in ${sae.dIn}`, 'take the model and hook point that the SAE was trained on');
  const { frame_rate: rate, model_sha256: sha256, hook_name: ownHook, model_name: ownModel } = sae.config.metadata;
  const says = (value: unknown): value is string => typeof value === 'string' && value !== '';
  if (says(sha256) && sha256 !== modelSha256) onNotice?.(`the SAE was trained on another file of ${says(ownModel) ? ownModel : 'the model'} than ${model} is now`);
  if (says(ownHook) && ownHook !== hook) onNotice?.(`the SAE was trained at ${ownHook}, and these frames are of ${hook}`);
  if (typeof rate === 'number' && rate !== frameRate) {
    onNotice?.(`the SAE was trained on ${rate} rows a second, and these are ${frameRate}: give the --pool-seconds that its frames were made with`);
  }
}
