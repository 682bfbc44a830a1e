/** What SAELens 6.18 computed, read from fixtures, and the oracle set up as its configurations say. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSafetensors } from '../../src/formats/index.ts';
import { batchtopkPass } from '../oracle/batchtopk-sae.ts';
import { gatedPass, gatedRun } from '../oracle/gated-sae.ts';
import { jumpreluPass, jumpreluRun } from '../oracle/jumprelu-sae.ts';
import type { Pass, PassContext, Tensors } from '../oracle/linear.ts';
import { matryoshkaPass } from '../oracle/matryoshka-sae.ts';
import { transpose } from '../oracle/matrix.ts';
import { standardPass, standardRun } from '../oracle/standard-sae.ts';
import { topkPass, topkRun } from '../oracle/topk-sae.ts';
import type { TrainingConfig } from '../oracle/training.ts';
import { transcoderRun } from '../oracle/transcoder.ts';

/** A cfg.json, or the sae_cfg of a training case: SAELens' own field names. */
export type SaelensConfig = Record<string, any>;

/** A tensor widened to float64, with its shape in the file. */
export interface FileTensor {
  shape: readonly number[];
  data: Float64Array;
}

/** All tensors of a safetensors file. */
export async function readTensors(path: string): Promise<Record<string, FileTensor>> {
  const file = await openSafetensors(path);
  const tensors: Record<string, FileTensor> = {};
  for (const [name, { shape }] of file.tensors) tensors[name] = { shape, data: await file.readFloat64(name) };
  await file.close();
  return tensors;
}

export function readJson(path: string) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** Tensors as the oracle holds them: W_enc latent-major. `prefix` selects and is cut off, e.g. 'step5.'. */
export function oracleTensors(file: Record<string, FileTensor>, prefix = ''): Tensors {
  const tensors: Tensors = {};
  for (const [name, { shape, data }] of Object.entries(file)) {
    if (!name.startsWith(prefix)) continue;
    const own = name.slice(prefix.length);
    tensors[own] = own === 'W_enc' ? transpose(data, shape[0], shape[1]) : data;
  }
  return tensors;
}

function common(cfg: SaelensConfig) {
  return {
    dIn: cfg.d_in,
    dSae: cfg.d_sae,
    applyBDecToInput: cfg.apply_b_dec_to_input,
    normalizeActivations: cfg.normalize_activations,
  };
}

/** Inference by the architecture that cfg.json names (or, before version 6, implies). */
export function oracleRun(cfg: SaelensConfig): (parameters: Tensors, x: Float64Array) => { featureActs: Float64Array; out: Float64Array } {
  const config = common(cfg);
  const k = cfg.activation_fn_str === 'topk' ? cfg.activation_fn_kwargs.k : cfg.k;
  if (cfg.architecture.endsWith('transcoder')) return (p, x) => transcoderRun(p, x, { ...config, dOut: cfg.d_out });
  if (k !== undefined) return (p, x) => topkRun(p, x, { ...config, k, rescaleActsByDecoderNorm: cfg.rescale_acts_by_decoder_norm ?? false });
  const runs: Record<string, typeof standardRun> = { standard: standardRun, gated: gatedRun, jumprelu: jumpreluRun };
  return (p, x) => runs[cfg.architecture](p, x, config);
}

/** The training pass of a sae_cfg. */
export function oraclePass(cfg: SaelensConfig): (parameters: Tensors, x: Float64Array, context: PassContext) => Pass {
  const config = common(cfg);
  const topk = {
    ...config, k: cfg.k, rescaleActsByDecoderNorm: cfg.rescale_acts_by_decoder_norm,
    auxLossCoefficient: cfg.aux_loss_coefficient, compatibility: 'saelens-6.18' as const,
  };
  switch (cfg.architecture) {
    case 'standard': return (p, x, context) => standardPass(p, x, { ...config, lpNorm: cfg.lp_norm }, context);
    case 'gated': return (p, x, context) => gatedPass(p, x, config, context);
    case 'jumprelu': return (p, x, context) => jumpreluPass(p, x, {
      ...config, bandwidth: cfg.jumprelu_bandwidth, sparsityMode: cfg.jumprelu_sparsity_loss_mode,
      tanhScale: cfg.jumprelu_tanh_scale, ...(cfg.pre_act_loss_coefficient === null ? {} : { preActCoefficient: cfg.pre_act_loss_coefficient }),
    }, context);
    case 'topk': return (p, x, context) => topkPass(p, x, topk, context);
    case 'batchtopk': return (p, x, context) => batchtopkPass(p, x, topk, context);
    case 'matryoshka_batchtopk': return (p, x, context) => matryoshkaPass(p, x, { ...topk, matryoshkaWidths: cfg.matryoshka_widths }, context);
    default: throw new Error(`no oracle for ${cfg.architecture}`);
  }
}

/** The oracle's training settings, of a sae_cfg and a trainer_cfg. */
export function oracleTrainingConfig(sae: SaelensConfig, trainer: Record<string, any>, dIn: number, activationScale: number): TrainingConfig {
  const coefficients: TrainingConfig['coefficients'] = {};
  if ('l1_coefficient' in sae) coefficients.l1 = { final: sae.l1_coefficient, warmUpSteps: sae.l1_warm_up_steps };
  if ('l0_coefficient' in sae) coefficients.l0 = { final: sae.l0_coefficient, warmUpSteps: sae.l0_warm_up_steps };
  return {
    dIn, lr: trainer.lr, lrEnd: trainer.lr_end, scheduler: trainer.lr_scheduler_name, warmUpSteps: trainer.lr_warm_up_steps,
    decaySteps: trainer.lr_decay_steps, restartCycles: trainer.n_restart_cycles,
    totalSteps: trainer.total_training_samples / trainer.train_batch_size_samples,
    beta1: trainer.adam_beta1, beta2: trainer.adam_beta2, eps: trainer.adam_eps, maxGradNorm: trainer.clip_grad_norm,
    deadFeatureWindow: trainer.dead_feature_window, featureSamplingWindow: trainer.feature_sampling_window,
    coefficients, activationScale, topkThresholdLr: sae.topk_threshold_lr,
  };
}

/** A recorded training case: `record` is its case.json. */
export interface TrainingCase {
  record: any;
  parameters: Tensors;
  grads: Record<string, FileTensor>;
  steps: Record<string, FileTensor>;
  config: TrainingConfig;
  /** [batch, dIn] per step, scaled as torch scales a float32 tensor: by the factor in float32. */
  batches: Float64Array[];
  /** [dSae]: the dead mask of the single-step gradients. */
  dead: Uint8Array;
}

/** `folder` is a `train` folder of fixtures. */
export async function readTrainingCase(folder: string, name: string): Promise<TrainingCase> {
  const record = readJson(join(folder, name, 'case.json'));
  const { sae_cfg: sae, trainer_cfg: trainer, d_in: dIn, batch } = record;
  const { topk_threshold: _, ...parameters } = oracleTensors(await readTensors(join(folder, name, 'init.safetensors')));
  const { batches, dead_mask } = await readTensors(join(folder, 'batches.safetensors'));
  const size = batch * dIn;
  return {
    record, parameters,
    grads: await readTensors(join(folder, name, 'grads.safetensors')),
    steps: await readTensors(join(folder, name, 'steps.safetensors')),
    batches: Array.from({ length: record.n_steps }, (_, i) => (
      batches.data.slice(i * size, (i + 1) * size).map((value) => Math.fround(value * Math.fround(record.batch_scale)))
    )),
    dead: Uint8Array.from(dead_mask.data),
    config: oracleTrainingConfig(sae, trainer, dIn, record.activation_scaling_factor ?? 1),
  };
}
