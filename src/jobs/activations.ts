import { ActivationStore, type FrameSource, openFramesFolder, openTensorSource } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';

/**
 * Frames from a store folder; a dataset folder of Hugging Face's save_to_disk, as SAELens caches activations; a .safetensors file (tensor `x`, [rows, d_in])
 * or a .npy file, or a folder of one kind of these. With `target` they must come with targets: the store's second stream, or tensor `y` [rows, d_out] of
 * the .safetensors file. Throws `config` when there are none, and what ActivationStore, openFramesFolder and openTensorSource throw.
 */
export async function openActivations(path: string, { target = false }: { target?: boolean } = {}): Promise<FrameSource & { close(): Promise<void> }> {
  const info = await runtime.files.info(path);
  if (!info) throw new CochleaError('file-missing', `no activations at ${path}`, 'name a folder that `cochlea extract` wrote, a .safetensors or .npy file, or a dataset folder');
  if (!info.isDirectory) return openTensorSource(path, target ? { target: 'y' } : {});
  if (!await runtime.files.info(runtime.paths.join(path, 'manifest.json'))) return openFramesFolder(path, { target });
  const store = await ActivationStore.open(path);
  if (target && !store.targetInfo) {
    throw new CochleaError('config', `the activations in ${path} have no targets`, 'extract them with --target-hook');
  }
  const { dIn, rows, dOut, targetInfo, targetStatistics } = store;
  return {
    dIn, info: store.info, rows, chunks: (options) => store.chunks(options), statistics: () => store.statistics(), close: async () => {},
    ...(store.halves && { halves: store.halves }),
    ...(targetInfo && { dOut, targetInfo, targetStatistics }),
  };
}
