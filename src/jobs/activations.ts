import { ActivationStore, type FrameSource, openTensorSource } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';

/** Frames from a store folder, a .safetensors file (tensor `x`, [rows, d_in]) or a .npy file. */
export async function openActivations(path: string): Promise<FrameSource & { close(): Promise<void> }> {
  const info = await runtime.files.info(path);
  if (!info) throw new CochleaError('file-missing', `no activations at ${path}`, 'name a folder that `cochlea extract` wrote, or a .safetensors or .npy file');
  if (!info.isDirectory) return openTensorSource(path);
  const store = await ActivationStore.open(path);
  return {
    dIn: store.dIn, info: store.info, rows: store.rows,
    chunks: (options) => store.chunks(options), statistics: () => store.statistics(), close: async () => {},
  };
}
