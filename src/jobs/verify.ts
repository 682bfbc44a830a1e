/** Whether the first steps of a run can be done again: finds its frames, trains and compares. */
import { CochleaError } from '../errors.ts';
import type { Gpu } from '../gpu/index.ts';
import { architectureOf } from '../sae/index.ts';
import { readRun, type RunComparison, verifyRun } from '../verify/index.ts';
import { openActivations } from './activations.ts';
import { type AudioOptions, openAudio } from './recordings/audio.ts';

export interface VerifyFolderOptions {
  steps: number;
  /** Where the frames or recordings are now; default: where the run had them. */
  data?: string;
  onNotice?: (line: string) => void;
  onProgress?: (line: string) => void;
}

/** See verifyRun. Throws `config` for a run that does not say where its frames are. */
export async function verifyFolder(gpu: Gpu, folder: string, { steps, data, onNotice = () => {}, onProgress }: VerifyFolderOptions): Promise<RunComparison> {
  const { settings } = await readRun(folder);
  const options = { steps, ...(onProgress ? { onProgress } : {}) };
  const flags = (settings.flags ?? {}) as Partial<AudioOptions> & { activations?: string };
  if (flags.audio !== undefined && flags.model !== undefined && flags.hook !== undefined) {
    const { package: build, provider } = settings.activations.computedBy ?? {};
    const backend = build === 'onnxruntime-node' ? 'native' : provider === 'webgpu' ? 'gpu' : 'wasm';
    const opened = await openAudio({ ...flags, backend, gpu, audio: data === undefined ? flags.audio : [data], model: flags.model, hook: flags.hook, onNotice });
    try {
      return await verifyRun(gpu, folder, opened.source(), options);
    } finally {
      await opened.close();
    }
  }
  const path = data ?? flags.activations;
  if (path === undefined) throw new CochleaError('config', `${folder} does not say which frames it was trained on`, 'give them by --data');
  const source = await openActivations(path, { target: architectureOf(settings.sae.architecture).needs === 'targets' });
  try {
    return await verifyRun(gpu, folder, source, options);
  } finally {
    await source.close();
  }
}
