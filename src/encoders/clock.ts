/** What a model takes, and how often it makes a frame of it. */
import { CochleaError } from '../errors.ts';
import { integerAttribute, type GraphNode, type Model, type ValueInfo } from './graph.ts';

interface Clock {
  hop: number;
  /** n samples give floor((n - needs) / hop) + 1 frames. */
  needs: number;
  firstKernel: number;
}

const slidingOps = ['Conv', 'FusedConv', 'ConvInteger', 'MaxPool', 'AveragePool'];

/**
 * The clock of the convolutions and poolings up to the last strided one. One with kernel k, stride s, dilation d and padding p makes
 * floor((n - a) / s) + 1 of n, a = d (k - 1) + 1 - p; a second one behind it gives a form of the same kind with stride
 * s1 s2 and a = a1 + s1 (a2 - 1).
 */
export function stemClock(nodes: readonly GraphNode[], file: string): Clock | undefined {
  const sliding = nodes.filter((node) => slidingOps.includes(node.op)).map((node) => {
    const [kernel, stride, dilation] = ['kernel_shape', 'strides', 'dilations'].map((name) => integerAttribute(node, name, file)?.[0]);
    const padding = (integerAttribute(node, 'pads', file) ?? []).reduce((a, b) => a + b, 0);
    return { kernel: kernel ?? 0, stride: stride ?? 1, dilation: dilation ?? 1, padding };
  });
  const stem = sliding.slice(0, sliding.findLastIndex(({ stride }) => stride > 1) + 1);
  if (stem.length === 0 || stem.some(({ kernel, stride }) => kernel < 1 || stride < 1)) return undefined;
  const clock: Clock = { hop: 1, needs: 1, firstKernel: stem[0]!.kernel };
  for (const { kernel, stride, dilation, padding } of stem) {
    clock.needs += clock.hop * (dilation * (kernel - 1) - padding);
    clock.hop *= stride;
  }
  return clock;
}

/** (x - mean) / sqrt(variance + 1e-7), as the feature extractor of wav2vec 2.0 does (Transformers, Wav2Vec2FeatureExtractor). */
export function standardize(samples: Float32Array): Float32Array {
  let sum = 0, squares = 0;
  for (const x of samples) sum += x;
  const mean = sum / samples.length;
  for (const x of samples) squares += (x - mean) ** 2;
  const scale = 1 / Math.sqrt(squares / samples.length + 1e-7);
  return samples.map((x) => (x - mean) * scale);
}

export const soundInput = (model: Model): ValueInfo | undefined => model.inputs.find(({ name }) => name !== 'attention_mask');

/** The only input of a model but for an attention mask. */
export function onlyInput(model: Model): ValueInfo {
  const input = soundInput(model);
  if (!input || model.inputs.some((other) => other.name !== input.name && other.name !== 'attention_mask')) {
    throw new CochleaError(
      'model', `${model.file}: it has the inputs ${model.inputs.map(({ name }) => name).join(', ') || '(none)'}`,
      'an encoder takes one, the sound: export the encoder alone',
    );
  }
  return input;
}
