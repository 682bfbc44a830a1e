import { CochleaError } from '../errors.ts';
import { openSafetensors, writeSafetensors } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import { dense, type SAE } from '../sae/index.ts';
import { openActivations } from './activations.ts';
import { checkFrames } from './recordings/trained-on.ts';

export interface EncodeResult {
  out: string;
  frames: number;
  l0: number;
}

export interface EncodeOptions {
  /** Told where a store is not of the model or hook point that the SAE was trained on. */
  onNotice?: (line: string) => void;
  signal?: AbortSignal;
}

/** Rows whose dense activations are held: d_sae / d_in times the frames. */
const piece = 1024;

/**
 * Feature activations and reconstructions of frames, as a safetensors file with `feature_acts` [rows, d_sae] and `recon` [rows, d_in] (of a
 * transcoder [rows, d_out]), in stored order; a sequential SAE gets a chunk's frames clip by clip. The frames are gone through twice, once for each tensor, so that memory does not depend on how many there are.
 * Throws `config` for frames of another d_in, `not-finite` for one that holds NaN or infinity, `file-exists` where `out` is a file that this did not write,
 * as the frames themselves, `interrupted` when `signal` aborts; then nothing is left of the file.
 */
export async function encodeFile(sae: SAE, input: string, out: string, { onNotice, signal }: EncodeOptions = {}): Promise<EncodeResult> {
  await refuseOther(out);
  const source = await openActivations(input);
  try {
    if (source.dIn !== sae.dIn) {
      throw new CochleaError('config', `the frames of ${input} have d_in ${source.dIn}, the SAE has d_in ${sae.dIn}`, 'take frames of the model and hook point that the SAE was trained on');
    }
    if (source.info.modelSha256 !== '') checkFrames(sae, source.info, onNotice);
    const rows = source.rows!;
    let firing = 0;
    async function* through(make: (x: Float32Array) => Promise<Float32Array>): AsyncGenerator<Float32Array> {
      let done = 0;
      for await (const { x, rows: here, clip } of source.chunks({ seed: 0, epoch: undefined, from: 0 })) {
        const bad = x.findIndex((value) => !Number.isFinite(value));
        if (bad >= 0) throw new CochleaError('not-finite', `row ${done + Math.floor(bad / sae.dIn)} of ${input} holds NaN or infinity`, 'leave it out');
        done += here;
        for (let first = 0, end = 0; first < here; first = end) {
          if (sae.isSequential) while (end < here && clip[end] === clip[first]) end++;
          else end = Math.min(first + piece, here);
          if (signal?.aborted) throw new CochleaError('interrupted', `stopped before ${out} was whole`, 'nothing of it is left');
          yield make(x.subarray(first * sae.dIn, end * sae.dIn));
        }
      }
    }
    const activations = async (x: Float32Array): Promise<Float32Array> => {
      const acts = await sae.encodeSparse(x);
      firing += acts.indices.length;
      return dense(acts, sae.dSae);
    };
    await writeSafetensors(out, [
      { name: 'feature_acts', dtype: 'F32', shape: [rows, sae.dSae], data: through(activations) },
      { name: 'recon', dtype: 'F32', shape: [rows, sae.dOut], data: through((x) => sae.forward(x)) },
    ]);
    return { out, frames: rows, l0: firing / rows };
  } finally {
    await source.close();
  }
}

/** Files of this kind are replaced, no others. */
async function refuseOther(out: string): Promise<void> {
  const there = await runtime.files.info(out);
  if (!there || there.isDirectory) return; // writing says that it is a folder
  const file = await openSafetensors(out).catch(() => undefined);
  const ours = file?.tensors.has('feature_acts') ?? false;
  await file?.close();
  if (!ours) throw new CochleaError('file-exists', `${out} is there, and is no file of feature activations: it would be lost`, 'choose another file');
}
