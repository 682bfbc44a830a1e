import { architectures, type BaseConfig, saeConfig } from '../../src/sae/index.ts';

/** A configuration of any architecture with what a small dictionary needs set: defaults are for large ones. `fields`: those that all have. */
export function smallSae(name: string, fields: Partial<BaseConfig> & Pick<BaseConfig, 'd_in' | 'd_sae'>, dOut: number): BaseConfig {
  const dSae = fields.d_sae;
  const small: Record<string, unknown> = {
    k: 4, matryoshka_widths: [dSae / 4, dSae / 2, dSae], max_iterations: 6, topk_threshold_lr: 0.1, l1_coefficient: 0.1, l0_coefficient: 0.01, jumprelu_bandwidth: 0.2, target_l0: 4, d_out: dOut,
  };
  const own = architectures.get(name)!.fields as Record<string, { default: unknown; nullable?: boolean }>;
  const given = Object.fromEntries(Object.entries(small).filter(([field]) => field in own && !(own[field]!.nullable && own[field]!.default === null)));
  return saeConfig({ ...given, ...fields, architecture: name });
}
