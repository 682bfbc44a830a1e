import type { ClipLabel, FrameChunk } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import type { SparseActs } from '../sae/index.ts';

/** What is evaluated: an SAE, or a baseline that answers like one. */
export interface SaeLike {
  readonly dIn: number;
  readonly dSae: number;
  /** Reconstructions [rows, dIn] and activations of frames x [rows, dIn]. */
  run(x: Float32Array): Promise<{ recon: Float32Array; acts: SparseActs }>;
}

/** Consecutive frames with what the SAE made of them. Valid until the next batch is asked for. */
export interface Batch {
  rows: number;
  /** [rows, dIn] */
  x: Float32Array;
  /** [rows, dIn] */
  recon: Float32Array;
  acts: SparseActs;
  /** Per row: the number of its clip, counted from 0 in the order of appearance. */
  clip: Uint32Array;
  /** Per row: seconds in the clip. */
  time: Float32Array;
  /** The clips so far, by number. */
  clips: readonly ClipLabel[];
}

/** Rows of a batch. Fixed, so that no result depends on how a source cuts its chunks. */
export const batchRows = 4096;

/**
 * Runs an SAE over frames in stored order, `batchRows` at a time whatever the chunks are; holds one chunk and one batch.
 * Throws `not-finite` for a frame that is not, `config` for frames of another d_in, and for a clip whose frames go on after those of another clip: counts per clip
 * are taken with one counter per latent, which needs stored order (epoch: undefined).
 */
export async function* runBatches(sae: SaeLike, chunks: AsyncIterable<FrameChunk>): AsyncGenerator<Batch> {
  const { dIn } = sae;
  const x = new Float32Array(batchRows * dIn);
  const clip = new Uint32Array(batchRows);
  const time = new Float32Array(batchRows);
  const clips: ClipLabel[] = [];
  const seen = new Set<string>();
  let rows = 0;

  const numberOf = (label: ClipLabel): number => {
    if (clips.length > 0 && clips[clips.length - 1].id === label.id) return clips.length - 1;
    if (seen.has(label.id)) {
      throw new CochleaError('config', `the frames of clip ${JSON.stringify(label.id)} are not in one piece`, 'evaluate frames in stored order');
    }
    seen.add(label.id);
    return clips.push(label) - 1;
  };
  const run = async (): Promise<Batch> => {
    const input = x.subarray(0, rows * dIn);
    const { recon, acts } = await sae.run(input);
    return { rows, x: input, recon, acts, clip, time, clips };
  };

  for await (const chunk of chunks) {
    if (chunk.x.length !== chunk.rows * dIn) {
      throw new CochleaError('config', `the frames have d_in ${chunk.x.length / chunk.rows}, the SAE has d_in ${dIn}`,
        'take frames of the model and hook point that the SAE was trained on');
    }
    let previous = -1, number = -1;
    for (let row = 0; row < chunk.rows; row++) {
      if (chunk.clip[row] !== previous) {
        previous = chunk.clip[row];
        number = numberOf(chunk.clips[previous]);
      }
      const frame = chunk.x.subarray(row * dIn, (row + 1) * dIn);
      let zero = 0; // stays 0 unless a value is NaN or infinite
      for (let d = 0; d < dIn; d++) zero += frame[d] - frame[d];
      if (zero !== 0) {
        throw new CochleaError('not-finite', `the frame at ${chunk.time[row].toFixed(3)} s of clip ${JSON.stringify(clips[number].id)} holds NaN or infinity`, 'check the recording');
      }
      x.set(frame, rows * dIn);
      clip[rows] = number;
      time[rows] = chunk.time[row];
      if (++rows < batchRows) continue;
      yield await run();
      rows = 0;
    }
  }
  if (rows > 0) yield await run();
}
