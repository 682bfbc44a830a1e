/** Codes whose gates and magnitudes come from one product. */
import type { Recorder, Tensor } from '../gpu/index.ts';
import type { Chunk } from './dense.ts';
import { expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** traits [1, 4 d_sae] of what the kernels below need per latent (see gated_traits.wgsl). r_mag, b_mag, b_gate [1, d_sae]. */
export function gatedTraits(rec: Recorder, tensors: { r_mag: Tensor; b_mag: Tensor; b_gate: Tensor; traits: Tensor }): void {
  const latents = tensors.r_mag.columns;
  expectShape('gated', tensors.traits, 1, 4 * latents);
  rec.dispatch(rec.gpu.kernel({ name: 'gated_traits', text: shaders.gated_traits.text }), tensors, { latents }, groupsFor(latents));
}

/** Codes f [rows, d_sae] from gates [rows, d_sae], both unpadded (see gated_rows.wgsl). active [.., 1]; flags as in topkRows. */
export function gatedRows(rec: Recorder, tensors: { gates: Tensor; traits: Tensor; f: Tensor; active: Tensor; flags: Tensor }, { firstRow, rows }: Chunk): void {
  const { gates, traits, f, active, flags } = tensors;
  for (const tensor of [gates, f]) expectShape('gated', tensor, rows, gates.columns);
  expectShape('gated', active, firstRow + rows, 1);
  rec.dispatch(rec.gpu.kernel({ name: 'gated_rows', text: shaders.gated_rows.text }, { WG: rowWorkgroup(rec.gpu) }), { gates, traits, f, l0: active, flags },
    { rows, first_row: firstRow, latents: gates.columns }, rows);
}

/**
 * Turns df into the gradients that the product x W_enc^T gets through the magnitudes, and sums these and those of r_mag and b_mag per latent (see
 * gated_latents.wgsl). gates, df [rows, d_sae] unpadded; gradBMag, gradRMag, pulls, counts [1, d_sae].
 */
export function gatedLatents(rec: Recorder, tensors: { gates: Tensor; traits: Tensor; df: Tensor; gradBMag: Tensor; gradRMag: Tensor; pulls: Tensor; counts: Tensor },
  { firstRow, rows }: Chunk): void {
  const { gates, traits, df, gradBMag, gradRMag, pulls, counts } = tensors;
  for (const tensor of [gates, df]) expectShape('gated gradients', tensor, rows, gates.columns);
  rec.dispatch(rec.gpu.kernel({ name: 'gated_latents', text: shaders.gated_latents.text }),
    { gates, traits, df, grad_b_mag: gradBMag, grad_r_mag: gradRMag, pulls, counts },
    { rows, latents: gates.columns, keep: firstRow > 0 ? 1 : 0 }, groupsFor(gates.columns));
}

/** Gates h [rows, d_sae], unpadded, become codes in place; flags as in topkRows. */
export function gatedActivate(rec: Recorder, tensors: { traits: Tensor; h: Tensor; flags: Tensor }, rows: number): void {
  const { traits, h, flags } = tensors;
  expectShape('gated', h, rows, traits.columns / 4);
  const elements = rows * h.columns;
  rec.dispatch(rec.gpu.kernel({ name: 'gated_activate', text: shaders.gated_activate.text }), { traits, h, flags }, { elements, latents: h.columns }, groupsFor(elements));
}
