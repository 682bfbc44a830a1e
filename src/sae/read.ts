import type { SaelensConfig, SaelensFolder } from '../formats/index.ts';
import type { BaseConfig } from './architecture.ts';
import { architectures } from './architectures/index.ts';
import { type Weights, weightsFromTensors } from './weights.ts';

/** What a SAELens folder holds, in the form that is used: of an architecture that exists for training only (batchtopk) what it is saved as. */
export function inferenceWeights({ config, tensors }: Pick<SaelensFolder, 'config' | 'tensors'>): { config: SaelensConfig; weights: Weights } {
  const architecture = architectures.get(config.architecture);
  const weights = weightsFromTensors(tensors);
  if (!architecture?.export || architecture.infer) return { config, weights };
  const asItIs = { mean: new Float32Array(config.d_in), scale: 1 };
  const exported = architecture.export(config as unknown as BaseConfig, weights, asItIs, Number(tensors.get('topk_threshold')?.data[0] ?? 0));
  return { config: { ...config, ...exported.fields, architecture: exported.architecture }, weights: exported.weights };
}
