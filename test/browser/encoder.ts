/** What the page of encoders/webgpu.test.ts runs: a model and an SAE on the page's one GPU device, beside the model by WebAssembly. */
import { openMultiEncoder } from '../../src/encoders/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { SAE } from '../../src/sae/index.ts';

export interface Found {
  /** What each backend says it is. */
  backends: string[];
  /** The largest difference of a frame, and the largest frame, at each hook. */
  off: number[];
  size: number[];
  rows: number;
  valid: number;
  /** Whether the SAE's activations of frames that never left the device are those of the same frames brought to the host. */
  same: boolean;
  /** Latents that fired. */
  fired: number;
  /** Bytes of buffers to read back from that encoding on the GPU made, and then the SAE. */
  readBack: { encoder: number; sae: number };
  /** How a refusal reads. */
  refused: string;
}

const dSae = 12, k = 3;

export async function encodeBothWays(url: string, hooks: string[], samples: number): Promise<Found> {
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const sound = Float32Array.from({ length: samples }, (_, i) => Math.sin(i * i * 1e-3));
  const gpu = await Gpu.open();
  const model = { name: 'tiny.onnx', bytes }, maxSeconds = 0.01; // several windows
  const onCpu = await openMultiEncoder({ model, hooks, maxSeconds, backend: 'wasm' });
  const onGpu = await openMultiEncoder({ model, hooks, maxSeconds, backend: 'gpu', device: gpu.device });
  const expected = await onCpu.encode(sound), found = await onGpu.encode(sound);
  const largest = (values: Float32Array): number => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  let bytesBack = 0;
  const { device } = gpu, create = device.createBuffer.bind(device);
  device.createBuffer = (shape) => {
    if (shape.usage & GPUBufferUsage.MAP_READ) bytesBack += shape.size;
    return create(shape);
  };
  const { frames, valid } = await onGpu.encodeOnGpu!(sound);
  const encoder = bytesBack, { dIn } = frames[0]!;
  const weights = (): Float32Array => Float32Array.from({ length: dSae * dIn }, (_, i) => Math.sin(i + 1));
  const sae = await SAE.create(gpu, {
    architecture: 'topk', d_in: dIn, d_sae: dSae, k, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: true, normalize_activations: 'none', reshape_activations: 'none', metadata: {},
  }, { W_enc: weights(), W_dec: weights(), b_enc: new Float32Array(dSae), b_dec: new Float32Array(dIn).fill(0.1) });
  const own = await sae.encodeSparse({ buffer: frames[0]!.buffer, rows: valid });
  const saeBytes = bytesBack - encoder;
  const brought = await sae.encodeSparse(found.frames[0]!.subarray(0, valid * dIn));
  const refused = await openMultiEncoder({ model, hooks, backend: 'gpu' }).then(() => '', (error: Error) => error.message);
  for (const { buffer } of frames) buffer.destroy();
  sae.dispose();
  await onGpu.close();
  await onCpu.close();
  gpu.throwIfFailed();
  return {
    backends: [onCpu, onGpu].map(({ backend: { name, package: build, provider } }) => `${name} ${build} ${provider}`),
    off: hooks.map((_, n) => largest(found.frames[n]!.map((x, i) => x - expected.frames[n]![i]!))), size: hooks.map((_, n) => largest(expected.frames[n]!)),
    rows: frames[0]!.rows, valid, same: JSON.stringify([own.indices, own.values, own.offsets].map((list) => [...list])) === JSON.stringify([brought.indices, brought.values, brought.offsets].map((list) => [...list])),
    fired: own.indices.length, readBack: { encoder, sae: saeBytes }, refused,
  };
}
