import type { FrameSource, FrameStatistics } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { architectureOf, type BaseConfig, type InputTransform } from '../sae/index.ts';

/**
 * Centring and scale from the source's statistics. With expected_average_only_in the frames get a mean norm of sqrt(d_in): SAELens'
 * sqrt(d_in) / mean |x| where they are not centred, sqrt(d_in / sum of variances), the root mean square, where they are. A transcoder's
 * targets are treated by the same rules, with a mean and a scale of their own.
 */
export async function inputTransform(source: FrameSource, sae: BaseConfig, centre: boolean): Promise<InputTransform> {
  const scaled = sae.normalize_activations === 'expected_average_only_in';
  if (centre && !scaled && sae.normalize_activations !== 'none') {
    throw new CochleaError('config', `centred frames and normalize_activations ${sae.normalize_activations} cannot be folded into one SAE`, 'switch one of them off');
  }
  const transformOf = async (what: string, columns: number, statistics: () => Promise<FrameStatistics>) => (
    centre || scaled ? fromStatistics(what, await statistics(), centre, scaled) : { mean: new Float32Array(columns), scale: 1 }
  );
  const frames = await transformOf('frames', sae.d_in, () => source.statistics());
  if (architectureOf(sae.architecture).needs !== 'targets') return frames;
  return { ...frames, target: await transformOf('targets', source.dOut!, () => source.targetStatistics!()) };
}

function fromStatistics(what: string, { mean, variance, meanNorm }: FrameStatistics, centre: boolean, scaled: boolean): { mean: Float32Array; scale: number } {
  const columns = mean.length;
  const spread = variance.reduce((sum, value) => sum + value, 0);
  const size = centre ? Math.sqrt(spread / columns) : meanNorm / Math.sqrt(columns);
  if (!(size > 0 && Number.isFinite(size))) throw new CochleaError('config', `the ${what} have a spread of ${size}`, `nothing can be learned from ${what} that are all alike`);
  return { mean: centre ? Float32Array.from(mean) : new Float32Array(columns), scale: scaled ? Math.fround(1 / size) : 1 };
}
