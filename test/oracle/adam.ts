/** Adam (Kingma and Ba 2015) as PyTorch computes it, and clipping by the global norm. */

import { zerosLike } from './linear.ts';
import type { Tensors } from './linear.ts';

export interface AdamState {
  /** Steps taken. */
  step: number;
  /** First and second moments. */
  m: Tensors;
  v: Tensors;
}

export interface AdamOptions {
  beta1: number;
  beta2: number;
  eps: number;
}

export function adamState(parameters: Tensors): AdamState {
  return { step: 0, m: zerosLike(parameters), v: zerosLike(parameters) };
}

/** Moves the parameters in place: p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps). */
export function adamStep(parameters: Tensors, gradients: Tensors, state: AdamState, lr: number, { beta1, beta2, eps }: AdamOptions): void {
  state.step++;
  const correction1 = 1 - beta1 ** state.step;
  const correction2 = 1 - beta2 ** state.step;
  for (const [name, p] of Object.entries(parameters)) {
    const g = gradients[name], m = state.m[name], v = state.v[name];
    for (let i = 0; i < p.length; i++) {
      m[i] = beta1 * m[i] + (1 - beta1) * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
      p[i] -= ((lr / correction1) * m[i]) / (Math.sqrt(v[i]) / Math.sqrt(correction2) + eps);
    }
  }
}

/** The Euclidean norm of all tensors together. */
export function globalNorm(gradients: Tensors): number {
  let sum = 0;
  for (const tensor of Object.values(gradients)) {
    for (const g of tensor) sum += g * g;
  }
  return Math.sqrt(sum);
}

/** Multiplies all gradients by min(1, maxNorm / (norm + 1e-6)) in place; returns the norm before. */
export function clipByGlobalNorm(gradients: Tensors, maxNorm: number): number {
  const norm = globalNorm(gradients);
  const factor = Math.min(1, maxNorm / (norm + 1e-6));
  for (const tensor of Object.values(gradients)) {
    for (let i = 0; i < tensor.length; i++) tensor[i] *= factor;
  }
  return norm;
}
