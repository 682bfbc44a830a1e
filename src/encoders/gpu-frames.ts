/** Frames that stay in GPU memory from the encoder to whatever reads them on the same device. */
import { CochleaError } from '../errors.ts';
import type { Family } from './families.ts';
import type { HookPoint } from './hooks.ts';
import { checkSamples, type Layout, rowsOf } from './layout.ts';
import type { Session } from './session.ts';

/** Activations [rows, dIn], float32, row by row without padding between them, on the device that the encoder was given. */
export interface GpuFrames {
  readonly buffer: GPUBuffer;
  readonly rows: number;
  readonly dIn: number;
}

/**
 * Per hook point the activations of one clip; rows from `valid` on are padding. The buffers are the caller's, to be read by what is submitted to the device from
 * now on and to be destroyed. Throws as `Encoder.encode`, and `hook` for tensors that are not float32 or whose rows do not lie in the order of frames (AST).
 */
export type EncodeOnGpu = (samples: Float32Array) => Promise<{ frames: readonly GpuFrames[]; valid: number }>;

/** Copies windows one behind the other, from buffers of ONNX Runtime, which are longer and go back to it, to one for each hook. */
export function gpuEncoding(
  run: NonNullable<Session['runOnGpu']>, device: GPUDevice, family: Family, streams: readonly { hook: HookPoint; layout: Layout }[], file: string,
): EncodeOnGpu {
  const scattered = streams.find(({ layout }) => family.order || !layout.rowsFirst);
  return async (samples) => {
    if (scattered) throw new CochleaError('hook', `${file}: the frames of '${scattered.hook.name}' do not lie in their order`, 'use `encode`, which puts them into it');
    checkSamples(samples, family);
    const clip = family.prepare(samples), windows = family.windows(samples.length);
    const rows = windows.reduce((sum, window) => sum + window.rows, 0);
    const frames = streams.map(({ hook, layout: { dIn } }) => ({
      buffer: device.createBuffer({ label: hook.name, size: 4 * rows * dIn, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST }), rows, dIn,
    }));
    try {
      let row = 0;
      for (const window of windows) {
        const outputs = await run(family.feed(clip.subarray(window.from, window.to)));
        const copies = device.createCommandEncoder({ label: 'frames of an encoder' });
        for (const [n, { hook, layout }] of streams.entries()) {
          const { buffer, dims } = outputs.get(hook.tensor)!;
          rowsOf(dims, layout, window.rows, family, file);
          copies.copyBufferToBuffer(buffer, 0, frames[n]!.buffer, 4 * row * layout.dIn, 4 * window.rows * layout.dIn);
        }
        device.queue.submit([copies.finish()]);
        for (const output of outputs.values()) output.free();
        row += window.rows;
      }
    } catch (error) {
      for (const { buffer } of frames) buffer.destroy();
      throw error;
    }
    return { frames, valid: rows - windows.at(-1)!.rows + windows.at(-1)!.valid };
  };
}
