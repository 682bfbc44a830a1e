/**
 * ONNX Runtime's execution provider for WebGPU, on a device that somebody else opened: what it computes then lies where that one's own shaders read it.
 */
import type * as Ort from 'onnxruntime-web';
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { Created } from './session.ts';
import { virtualFiles } from './wasm.ts';
import type { DetachedModel } from './weights.ts';

let loading: Promise<typeof Ort> | undefined;

async function load(): Promise<typeof Ort> {
  const ort = await import('onnxruntime-web/webgpu');
  ort.env.wasm.numThreads = 1; // what the GPU does not do is little
  ort.env.logLevel = 'fatal';
  return ort;
}

/** All outputs stay on the GPU until they are asked for. Throws CochleaError `usage` without a device. */
export async function createWebgpu(model: DetachedModel, device: GPUDevice | undefined): Promise<Created> {
  if (!device) throw new CochleaError('usage', 'the gpu backend needs a GPU device', 'pass the one that the SAE is on, or choose another backend');
  await runtime.likeAPage(device);
  const ort = await (loading ??= load());
  const provider = { name: 'webgpu', device } as Ort.InferenceSession.ExecutionProviderConfig;
  const external = virtualFiles(model.weights);
  try {
    const session = await ort.InferenceSession.create(model.bytes, {
      executionProviders: [provider],
      logSeverityLevel: 4,
      preferredOutputLocation: 'gpu-buffer',
      externalData: external.files,
    });
    return { ort, session };
  } catch (error) {
    throw external.unread ?? error;
  }
}
