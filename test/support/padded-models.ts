/** Small models with the windows of Whisper, of AST and of a declared input, whose rows of padding hold whatever is asked for. */
import { integers, model, node, tensor, tinyEncoder, value, type GraphParts } from '../encoders/tiny-onnx.ts';

/** Numbers per frame of all of them, and where they are hooked. */
export const paddedWidth = 4, paddedHook = 'encoder.layers.0';

export interface PaddedModel {
  readonly family: string;
  /** Frames that one second of sound has. */
  readonly frames: number;
  /** Of the window. */
  readonly rows: number;
  /** What lies beside the model. */
  readonly files: Readonly<Record<string, string>>;
  /** The model with `content` in every number of every row that is no frame of one second of sound. */
  make(content: number): Uint8Array;
}

const numbers = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => Math.sin(1 + i * 1.7) / 4);

/** A stem whose last node gives `stem` [1, rows, 4], with `content` added to the rows that are not `sounding`, and tinyEncoder's layers on it. */
function padded(stem: Omit<GraphParts, 'outputs'>, rows: number, sounding: (row: number) => boolean, content: number): Uint8Array {
  const { nodes, tensors, outputs } = tinyEncoder();
  const padding = Float32Array.from({ length: rows * paddedWidth }, (_, at) => (sounding(Math.floor(at / paddedWidth)) ? 0 : content));
  return model({
    nodes: [...stem.nodes, node('Add', ['stem', 'padding'], ['/Transpose_output_0'], { name: '/Pad' }), ...nodes.slice(3)],
    tensors: [...stem.tensors!, ...tensors!.slice(2), tensor('padding', [1, rows, paddedWidth], padding)],
    inputs: stem.inputs!, outputs: outputs!,
  });
}

const convolution = (input: string, kernel: string, output: string, strides: number[], kernelShape: number[], pads: number[]): Uint8Array =>
  node('Conv', [input, kernel], [output], { name: `/${output}`, attributes: { kernel_shape: kernelShape, strides, pads } });

/** 80 mel bands of 30 s, two convolutions, the second with stride 2: 1500 rows, 50 a second. */
const whisper: PaddedModel = {
  family: 'whisper', frames: 50, rows: 1500, files: {},
  make: (content) => padded({
    nodes: [
      convolution('input_features', 'first', 'conv1', [1], [3], [1, 1]), convolution('conv1', 'second', 'conv2', [2], [3], [1, 1]),
      node('Transpose', ['conv2'], ['stem'], { name: '/Transpose', attributes: { perm: [0, 2, 1] } }),
    ],
    tensors: [tensor('first', [4, 80, 3], numbers(960)), tensor('second', [4, 4, 3], numbers(48))], inputs: [value('input_features', ['batch', 80, 3000])],
  }, 1500, (row) => row < 50, content),
};

/** 1024 rows of 128 bands in patches of 16 by 16, one every 10: 12 of them every 100 ms, behind two tokens that stand for the whole clip. */
const ast: PaddedModel = {
  family: 'ast', frames: 120, rows: 1212, files: {},
  make: (content) => padded({
    nodes: [
      node('Unsqueeze', ['input_values', 'axis'], ['image']), node('Transpose', ['image'], ['turned'], { attributes: { perm: [0, 1, 3, 2] } }),
      convolution('turned', 'patch', 'patches', [10, 10], [16, 16], [0, 0, 0, 0]), node('Reshape', ['patches', 'flat'], ['columns']),
      node('Transpose', ['columns'], ['tokens'], { attributes: { perm: [0, 2, 1] } }), node('Concat', ['whole', 'tokens'], ['stem'], { attributes: { axis: 1 } }),
    ],
    tensors: [integers('axis', [1]), integers('flat', [1, 4, -1]), tensor('patch', [4, 1, 16, 16], numbers(1024)), tensor('whole', [1, 2, 4], numbers(8))],
    inputs: [value('input_values', ['batch', 1024, 128])],
  // A second has 98 rows of spectrogram, in which 10 patches of each of the 12 bands begin.
  }, 1214, (row) => row >= 2 && (row - 2) % 101 < 10, content),
};

/** 30 s of waveform, a row for every 320 samples. */
const declared: PaddedModel = {
  family: 'declared', frames: 50, rows: 1500, files: { 'cochlea-input.json': '{"kind": "waveform", "sampleRate": 16000, "length": 480000}' },
  make: (content) => padded({
    nodes: [
      node('Unsqueeze', ['samples', 'axis'], ['channel']), convolution('channel', 'kernel', 'conv', [320], [320], [0, 0]),
      node('Transpose', ['conv'], ['stem'], { name: '/Transpose', attributes: { perm: [0, 2, 1] } }),
    ],
    tensors: [integers('axis', [1]), tensor('kernel', [4, 1, 320], numbers(1280))], inputs: [value('samples', ['batch', 480_000])],
  }, 1500, (row) => row < 50, content),
};

export const paddedModels: readonly PaddedModel[] = [whisper, ast, declared];
