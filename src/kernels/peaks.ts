/** Launches that measure what an adapter can do at best; src/profile holds the others against them. */
import type { Recorder, Tensor } from '../gpu/index.ts';
import { groupsFor } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** Invocations of a workgroup of peakCompute: sums need a row of four floats for each. */
export const peakWorkgroup = 64;

/** `rounds` times 192 multiply-adds in each invocation of `groups` workgroups (see peak_compute.wgsl). sums [groups * 64, 4]. */
export function peakCompute(rec: Recorder, sums: Tensor, groups: number, rounds: number): void {
  rec.dispatch(rec.gpu.kernel({ name: 'peak_compute', text: shaders.peak_compute.text }), { sums }, { groups, rounds, factor: 0.999, step: 0.001 }, groups);
}

/** a = b + 0.5 c, all of one shape, `per` vec4s in each invocation (see peak_bandwidth.wgsl). */
export function peakBandwidth(rec: Recorder, tensors: { a: Tensor; b: Tensor; c: Tensor }, per: number): void {
  const quads = (tensors.a.rows * tensors.a.stride) / 4, step = Math.ceil(quads / per);
  const kernel = rec.gpu.kernel({ name: 'peak_bandwidth', text: shaders.peak_bandwidth.text }, { PER: per });
  rec.dispatch(kernel, tensors, { quads, step, factor: 0.5 }, groupsFor(step));
}

/** Nothing (see peak_launch.wgsl). */
export function peakLaunch(rec: Recorder, out: Tensor): void {
  rec.dispatch(rec.gpu.kernel({ name: 'peak_launch', text: shaders.peak_launch.text }), { out }, { n: 0 }, 1);
}
