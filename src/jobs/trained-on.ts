/** The model and hook points that an SAE was trained on, as its folder says. */
import { CochleaError } from '../errors.ts';
import type { SAE } from '../sae/index.ts';

export interface HookedModel {
  model: string;
  hook: string;
}

/** What is given wins over what the SAE's metadata say; of a model of the Hub they say the very commit. Throws `usage` where neither says it. */
export function trainedOn({ config: { metadata } }: SAE, given: { model?: string | undefined; hook?: string | undefined } = {}): HookedModel {
  const known = (what: string, flag: string, own: string | undefined, key: string): string => {
    const value = own ?? metadata[key];
    if (typeof value !== 'string' || value === '') throw new CochleaError('usage', `the SAE does not say which ${what} it was trained on`, `give ${flag}`);
    return value;
  };
  const source = metadata['model_source'];
  const pinned = typeof source === 'string' && source.startsWith('hf:') ? source : undefined;
  return { model: known('model', '--model', given.model ?? pinned, 'model_name'), hook: known('hook point', '--hook', given.hook, 'hook_name') };
}

/** What speaks against frames being of the kind that the SAE was trained on, one line each. */
export function differences({ config: { metadata } }: SAE, frames: { model: string; modelSha256: string; hook: string; frameRate: number }): string[] {
  const { frame_rate: rate, model_sha256: sha256, hook_name: hook, model_name: model } = metadata;
  return [
    ...(typeof sha256 === 'string' && sha256 !== '' && sha256 !== frames.modelSha256 ? [`the SAE was trained on another file of ${typeof model === 'string' && model !== '' ? model : 'the model'} than ${frames.model} is now`] : []),
    ...(typeof hook === 'string' && hook !== '' && hook !== frames.hook ? [`the SAE was trained at ${hook}, and these frames are of ${frames.hook}`] : []),
    ...(typeof rate === 'number' && rate !== frames.frameRate ? [`the SAE was trained on ${rate} rows a second, and these are ${frames.frameRate}: give the --pool-seconds that its frames were made with`] : []),
  ];
}
