/** A CTC model that hears numbers: every second sample is a token. */
import { integers, node, tensor, value, type GraphParts } from './tiny-onnx.ts';

export const ctcVocabulary = { '<pad>': 0, '<s>': 1, '</s>': 2, '<unk>': 3, '|': 4, A: 5, B: 6, C: 7 };
export const ctcConfig = { architectures: ['Wav2Vec2ForCTC'], pad_token_id: 0 };

/** The samples of some tokens. */
export const spoken = (tokens: readonly number[]): Float32Array => Float32Array.from(tokens.flatMap((token) => [token, 0]));

/** Its stream is the samples [frames, 1]; the logit of a token is -(token - sample)^2 but for what all of a frame have in common. */
export function tinyCtc(): GraphParts {
  return {
    nodes: [
      node('Unsqueeze', ['input_values', 'one'], ['channel']), node('Conv', ['channel', 'kernel'], ['c'], { attributes: { kernel_shape: [2], strides: [2] } }),
      node('Transpose', ['c'], ['stream'], { attributes: { perm: [0, 2, 1] } }), node('Mul', ['stream', 'slopes'], ['scaled']), node('Add', ['scaled', 'offsets'], ['logits']),
    ],
    tensors: [
      integers('one', [1]), tensor('kernel', [1, 1, 2], [1, 0]), tensor('slopes', [8], Float32Array.from({ length: 8 }, (_, i) => 2 * i)),
      tensor('offsets', [8], Float32Array.from({ length: 8 }, (_, i) => -i * i)),
    ],
    inputs: [value('input_values', ['batch', 'samples'])], outputs: [value('logits', ['batch', 'frames', 8])],
  };
}
