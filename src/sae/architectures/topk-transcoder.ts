/**
 * Training of transcoders whose activations are the k largest of each frame; transcoder.ts says what they compute. With z the kept values, g the
 * gradient of the mse, and the same for the dead latents' reconstruction, of which the values are not rectified:
 *
 *   dz_i = g . W_dec_i where z_i > 0
 *   grad W_dec_i = sum_b z_bi g_b,   grad W_enc_i = sum_b dz_bi xc_b,   grad b_enc_i = sum_b dz_bi
 */
import type { Recorder, Tensor } from '../../gpu/index.ts';
import { padded } from '../../gpu/index.ts';
import {
  auxiliaryRows, decodeSparse, gatheredGradients, invertPairs, type InverseIndex, keptGradients, type KeptPairs, meanCutoff, residualRows, rowNorms, topkRows,
} from '../../kernels/index.ts';
import type { BaseConfig, TrainingContext, TrainingForm } from '../architecture.ts';
import { denseTraining, type TranscoderOutput } from '../dense-training.ts';
import { compactTensor, inverseIndexTensors, shardRows } from '../layout.ts';

/** Kept pairs and the same by latents. */
interface Kept extends KeptPairs {
  index: InverseIndex;
}

/** k latents per frame; `auxiliary`: the coefficient of the dead latents' loss. */
export function topkTranscoderTraining(context: TrainingContext<BaseConfig>, k: number, auxiliary: number, output: TranscoderOutput): TrainingForm {
  const { gpu, config, batch, state: { dead, flags } } = context;
  const { d_sae: dSae } = config;
  const sae = denseTraining(context, 1, ['auxiliary_reconstruction_loss'], output, true);
  const { W_dec, b_dec, gradWDec, gradWEnc, t, xc, out, g, mean, rowAffine, stats, norms, lossRows, sums } = sae;
  const pitch = padded(dSae);
  const compact = (label: string, columns: number, dtype?: 'u32'): Tensor => sae.own(compactTensor(gpu, label, batch, columns, dtype));
  const keptOf = (label: string, kept: number): Kept => ({
    indices: compact(`${label} indices`, kept, 'u32'), values: compact(`${label} values`, kept), dz: compact(`${label} gradients`, kept),
    index: inverseIndexTensors(gpu, sae.own, label, { dSae, batch, pairs: batch * kept, perShard: shardRows(gpu, 1, dSae, batch) }),
  });
  const kAux = Math.floor(output.dOut / 2);
  const main = keptOf('kept', k), spare = auxiliary > 0 && kAux > 0 ? keptOf('auxiliary', kAux) : undefined;
  const gAux = spare ? sae.frames('auxiliary gradient', output.dOut, true) : undefined;
  const b_enc = sae.vector('b_enc'), h = sae.codes('pre-activations'), cutoff = sae.vector('mean cutoff', 1);

  /** From pairs that were decoded with the error gradient `from`: dz and the weights' gradients. */
  function recordGradients(rec: Recorder, { index, ...pairs }: Kept, from: Tensor, rows: number, isMain: boolean): void {
    keptGradients(rec, { ...pairs, g: from, W_dec }, rows, isMain);
    invertPairs(rec, pairs, index, rows, !isMain);
    gatheredGradients(rec, index, { M: from, grad: gradWDec, sums }, { kind: 'value' }, 2 * pitch, !isMain);
    gatheredGradients(rec, index, { M: xc, grad: gradWEnc, sums }, { kind: 'dz' }, pitch, !isMain);
  }

  return {
    parameters: [...sae.parameters, { name: 'b_enc', value: b_enc, gradient: sums }],
    results: { ...sae.results, counts: main.index.counts, smallest: cutoff },
    initialise: sae.initialise,
    record(rec, step) {
      const { rows } = step;
      const aux = step.mayBeDead ? spare : undefined;
      if (!aux) rec.clear(lossRows);
      for (const { index } of aux ? [main, aux] : [main]) {
        rec.clear(index.counts);
        rec.clear(index.bitmap);
      }
      sae.prepare(rec, step);
      rowNorms(rec, { W: W_dec, norms });
      for (const chunk of sae.chunks(rows)) {
        sae.encode(rec, xc, b_enc, h, chunk);
        topkRows(rec, { h, ...main, flags, norms }, chunk.firstRow, chunk.rows, k);
        if (aux) topkRows(rec, { h, ...aux, flags, norms, list: dead }, chunk.firstRow, chunk.rows, kAux);
      }
      meanCutoff(rec, { ...main, norms, cutoff }, rows);
      const skipped = sae.recordSkip(rec, g, rows); // g is free until there is an error
      decodeSparse(rec, { ...main, W_dec, b_dec, r: out, ...(skipped ? { before: g } : {}) }, rows, 1);
      residualRows(rec, { t, mean, rowAffine, values: main.values, r: out, g, stats }, rows);
      recordGradients(rec, main, g, rows, true);
      if (aux && gAux) {
        decodeSparse(rec, { ...aux, W_dec, b_dec, r: gAux }, rows, 0);
        auxiliaryRows(rec, { t, out, rowAffine, dead, rAux: gAux, lossRows }, rows, { kAux, coefficient: auxiliary, affine: false, column: 0 });
        recordGradients(rec, aux, gAux, rows, false);
      }
      sae.finish(rec, rows, { throughNorms: false });
    },
    dispose: sae.dispose,
  };
}
