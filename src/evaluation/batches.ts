import type { ClipLabel, FrameChunk } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import type { SparseActs } from '../sae/index.ts';

/** What is evaluated: an SAE, or a baseline that answers like one. */
export interface SaeLike {
  readonly dIn: number;
  readonly dSae: number;
  /** Whether the rows of one call are taken as one sequence: a clip, or at most `batchRows` of it. */
  readonly isSequential?: boolean;
  /** Reconstructions [rows, dIn], of a transcoder [rows, dOut], and activations of frames x [rows, dIn]. */
  run(x: Float32Array): Promise<{ recon: Float32Array; acts: SparseActs }>;
}

/** Consecutive frames with what the SAE made of them. Valid until the next batch is asked for. */
export interface Batch {
  rows: number;
  /** [rows, dIn] */
  x: Float32Array;
  /** What the reconstructions are to be [rows, dOut]: `x` itself, or a transcoder's targets. */
  target: Float32Array;
  dOut: number;
  /** As the SAE gave them. */
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
 * Runs an SAE over frames in stored order, `batchRows` at a time whatever the chunks are, a sequential one clip by clip; holds one chunk and one batch. With `target` the
 * frames must come with targets.
 * Throws `not-finite` for a frame or target that is not, `config` for frames of another d_in or without targets, and for a clip whose
 * frames go on after those of another clip: counts per clip are taken with one counter per latent, which needs stored order (epoch: undefined).
 */
export async function* runBatches(sae: SaeLike, chunks: AsyncIterable<FrameChunk>, { target = false }: { target?: boolean } = {}): AsyncGenerator<Batch> {
  const { dIn } = sae;
  const x = new Float32Array(batchRows * dIn);
  let targets = x, dOut = dIn;
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
  /** Copies a row of a chunk to the end of the batch. */
  const put = (values: Float32Array, row: number, width: number, into: Float32Array, what: string): void => {
    const own = values.subarray(row * width, (row + 1) * width);
    let zero = 0; // stays 0 unless a value is NaN or infinite
    for (let d = 0; d < width; d++) zero += own[d] - own[d];
    if (zero !== 0) {
      const where = `${time[rows].toFixed(3)} s of clip ${JSON.stringify(clips[clip[rows]].id)}`;
      throw new CochleaError('not-finite', `the ${what} at ${where} holds NaN or infinity`, 'check the recording');
    }
    into.set(own, rows * width);
  };
  const run = async (): Promise<Batch> => {
    const input = x.subarray(0, rows * dIn);
    const { recon, acts } = await sae.run(input);
    return { rows, x: input, target: targets.subarray(0, rows * dOut), dOut, recon, acts, clip, time, clips };
  };

  for await (const chunk of chunks) {
    if (chunk.x.length !== chunk.rows * dIn) {
      throw new CochleaError('config', `the frames have d_in ${chunk.x.length / chunk.rows}, the SAE has d_in ${dIn}`,
        'take frames of the model and hook point that the SAE was trained on');
    }
    if (target && !chunk.target) throw new CochleaError('config', 'the frames have no targets to compare a transcoder with', 'take frames of both its hook points');
    if (target && targets === x && chunk.rows > 0) {
      dOut = chunk.target!.length / chunk.rows;
      targets = new Float32Array(batchRows * dOut);
    }
    let previous = -1, number = -1;
    for (let row = 0; row < chunk.rows; row++) {
      if (chunk.clip[row] !== previous) {
        previous = chunk.clip[row];
        number = numberOf(chunk.clips[previous]);
        if (sae.isSequential && rows > 0 && clip[rows - 1] !== number) {
          yield await run();
          rows = 0;
        }
      }
      clip[rows] = number;
      time[rows] = chunk.time[row];
      put(chunk.x, row, dIn, x, 'frame');
      if (target) put(chunk.target!, row, dOut, targets, 'target of the frame');
      if (++rows < batchRows) continue;
      yield await run();
      rows = 0;
    }
  }
  if (rows > 0) yield await run();
}
