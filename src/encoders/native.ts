/**
 * ONNX Runtime's native build, the npm package onnxruntime-node: several times as fast as the wasm build, and of some hundred megabytes, so that it
 * is used where it is installed and never asked for.
 */
import type * as Ort from 'onnxruntime-web';
import { runtime } from '../runtime/index.ts';
import type { Created } from './session.ts';
import { type DetachedModel, weightBytes } from './weights.ts';

/** Names a folder where onnxruntime-node is installed, when that is not where this package's dependencies are. */
export const nativeVariable = 'COCHLEA_ONNXRUNTIME_NODE';

export interface NativeRuntime {
  readonly ort: typeof Ort;
  readonly version: string;
}

/** Undefined where it is not installed, and outside of Node. Throws CochleaError `runtime` when it is and cannot be loaded. */
export async function loadNative(): Promise<NativeRuntime | undefined> {
  if (runtime.name !== 'node') return undefined;
  const found = await runtime.optionalPackage('onnxruntime-node', nativeVariable);
  return found && { ort: found.exports as typeof Ort, version: found.version };
}

/** Weights in external files are mapped into memory, where all sessions share them. */
export async function createNative(model: DetachedModel, threads: number | undefined): Promise<Created> {
  const { ort } = (await loadNative())!;
  ort.env.logLevel = 'fatal';
  const session = await ort.InferenceSession.create(model.bytes, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads ?? Math.min(4, runtime.processors),
    interOpNumThreads: 1,
    logSeverityLevel: 4,
    externalData: model.weights.map((weight) => ({ path: weight.path, data: weightBytes(weight) })),
    ...(model.folder !== undefined && { extra: { session: { model_external_initializers_file_folder_path: runtime.paths.resolve(model.folder) } } }),
  });
  return { ort, session };
}
