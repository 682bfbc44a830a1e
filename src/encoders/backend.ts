/** Which build of ONNX Runtime computes an encoder's frames. They add in different orders, so frames agree to rounding and no further. */
import { CochleaError } from '../errors.ts';
import { loadNative, nativeVariable } from './native.ts';

/** auto: native where it is installed, else wasm; gpu: on a device that is handed over. */
export const backendNames = ['auto', 'wasm', 'native', 'gpu'] as const;
export type BackendName = (typeof backendNames)[number];

export interface Backend {
  readonly name: Exclude<BackendName, 'auto'>;
  readonly package: string;
  readonly version: string;
  /** ONNX Runtime's execution provider. */
  readonly provider: string;
}

/** Throws CochleaError `runtime` when the native build is asked for and is not there, or cannot be loaded; with `auto` the latter is a notice. */
export async function chooseBackend(wanted: BackendName = 'auto', onNotice?: (line: string) => void): Promise<Backend> {
  if (!backendNames.includes(wanted)) throw new CochleaError('usage', `no backend is called '${wanted}'`, `there are ${backendNames.join(', ')}`);
  if (wanted === 'auto' || wanted === 'native') {
    try {
      const native = await loadNative();
      if (native) return { name: 'native', package: 'onnxruntime-node', version: native.version, provider: 'cpu' };
      if (wanted === 'native') {
        throw new CochleaError('runtime', 'the native backend is not there: it is the npm package onnxruntime-node, which Node loads where it is installed',
          `npm install --no-save onnxruntime-node beside cochlea, or set ${nativeVariable} to a folder that has it`);
      }
    } catch (error) {
      if (wanted === 'native') throw error;
      onNotice?.(`the wasm backend is used: ${(error as Error).message}`);
    }
  }
  const { env } = await import('onnxruntime-web');
  return { name: wanted === 'gpu' ? 'gpu' : 'wasm', package: 'onnxruntime-web', version: env.versions.web ?? '', provider: wanted === 'gpu' ? 'webgpu' : 'wasm' };
}
