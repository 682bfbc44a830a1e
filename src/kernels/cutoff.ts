import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectPairs, type Pairs } from './pairs.ts';
import { expectShape } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** cutoff [1, 1]: the mean over rows of the smallest kept value times its decoder norm (see mean_cutoff.wgsl). norms [1, d_sae]; k slots a row. */
export function meanCutoff(rec: Recorder, tensors: Pairs & { norms: Tensor; cutoff: Tensor }, rows: number): void {
  const { indices, values, norms, cutoff } = tensors;
  expectPairs('cutoff', { indices, values }, rows);
  expectShape('cutoff', cutoff, 1, 1);
  rec.dispatch(rec.gpu.kernel({ name: 'mean_cutoff', text: shaders.mean_cutoff.text }), { indices, values, norms, cutoff }, { rows, k: indices.columns }, 1);
}
