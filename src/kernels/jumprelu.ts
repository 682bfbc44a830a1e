/** JumpReLU codes with thresholds learned by straight-through estimators. */
import type { Recorder, Tensor } from '../gpu/index.ts';
import { padded } from '../gpu/index.ts';
import { type Chunk, latentSums } from './dense.ts';
import { expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** What is punished: how many latents are active, tanh of their activations, or a batch's distance from a number of active latents. */
export const sparsityModes = ['step', 'tanh', 'quadratic'] as const;

export interface JumpreluOptions {
  sparsity: (typeof sparsityModes)[number];
  /** Whether latents that are dead are pulled up: the second column of lossRows. */
  preAct: boolean;
  coefficient: number;
  tanhScale: number;
}

const constantsOf = ({ sparsity, preAct }: JumpreluOptions): Record<string, number> => ({ SPARSITY: sparsityModes.indexOf(sparsity), PRE_ACT: preAct ? 1 : 0 });

/**
 * traits [1, 4 d_sae] of what the kernels below need per latent (see jumprelu_traits.wgsl). threshold, or with `log` its logarithm, and norms
 * [1, d_sae]; dead as listDead writes it; `lambda`: coefficient of the pre-activation loss.
 */
export function jumpreluTraits(rec: Recorder, tensors: { threshold: Tensor; norms: Tensor; dead: Tensor; traits: Tensor }, { log, lambda }: { log: boolean; lambda: number }): void {
  const latents = tensors.threshold.columns;
  expectShape('jumprelu', tensors.traits, 1, 4 * latents);
  rec.dispatch(rec.gpu.kernel({ name: 'jumprelu_traits', text: shaders.jumprelu_traits.text }, { LOG: log ? 1 : 0 }), tensors, { latents, lambda }, groupsFor(latents));
}

/** Codes f from pre-activations h [rows, d_sae], unpadded, with the rows' penalties (see jumprelu_rows.wgsl). active [.., 1]; lossRows [.., 1 or 2]; flags as in topkRows. */
export function jumpreluRows(rec: Recorder, tensors: { h: Tensor; traits: Tensor; f: Tensor; active: Tensor; lossRows: Tensor; flags: Tensor }, { firstRow, rows }: Chunk,
  options: JumpreluOptions): void {
  const { h, traits, f, active, lossRows, flags } = tensors;
  for (const tensor of [h, f]) expectShape('jumprelu', tensor, rows, traits.columns / 4);
  expectShape('jumprelu', active, firstRow + rows, 1);
  expectShape('jumprelu', lossRows, firstRow + rows, options.preAct ? 2 : 1);
  rec.dispatch(rec.gpu.kernel({ name: 'jumprelu_rows', text: shaders.jumprelu_rows.text }, { WG: rowWorkgroup(rec.gpu), ...constantsOf(options) }),
    { h, traits, f, l0: active, loss_rows: lossRows, flags },
    { rows, first_row: firstRow, latents: h.columns, losses: lossRows.columns, coefficient: options.coefficient, tanh_scale: options.tanhScale }, rows);
}

/**
 * Turns df into the gradients of the pre-activations, and sums these and the thresholds' per latent (see jumprelu_latents.wgsl). h, df [rows, d_sae]
 * unpadded; slope [1, 1] of targetL0; sums [1, 3 padded(d_sae)] as in latentSquares; gradThreshold, counts [1, d_sae].
 * `toInput`: the straight-through estimator reaches the pre-activations too.
 */
export function jumpreluLatents(rec: Recorder, tensors: { h: Tensor; traits: Tensor; slope: Tensor; df: Tensor; sums: Tensor; gradThreshold: Tensor; counts: Tensor },
  { firstRow, rows, batch }: Chunk, options: JumpreluOptions & { bandwidth: number; toInput: boolean }): void {
  const { h, traits, slope, df, sums, gradThreshold, counts } = tensors;
  const pitch = padded(h.columns);
  for (const tensor of [h, df]) expectShape('jumprelu gradients', tensor, rows, traits.columns / 4);
  expectShape('jumprelu gradients', sums, 1, latentSums * pitch);
  const { coefficient, tanhScale, bandwidth, toInput } = options;
  rec.dispatch(rec.gpu.kernel({ name: 'jumprelu_latents', text: shaders.jumprelu_latents.text }, { ...constantsOf(options), TO_INPUT: toInput ? 1 : 0 }),
    { h, traits, slope, df, sums, grad_threshold: gradThreshold, counts },
    { rows, latents: h.columns, batch, pitch, keep: firstRow > 0 ? 1 : 0, coefficient, tanh_scale: tanhScale, bandwidth }, groupsFor(h.columns));
}

/** The quadratic penalty of a batch whose rows have so many `active` [.., 1] latents, and its slope [1, 1] (see target_l0.wgsl); the first column of lossRows. */
export function targetL0(rec: Recorder, tensors: { active: Tensor; slope: Tensor; lossRows: Tensor }, rows: number, options: { goal: number; coefficient: number }): void {
  const { active, slope, lossRows } = tensors;
  expectShape('target l0', active, rows, 1);
  rec.dispatch(rec.gpu.kernel({ name: 'target_l0', text: shaders.target_l0.text }), { l0: active, slope, loss_rows: lossRows }, { rows, losses: lossRows.columns, ...options }, 1);
}
