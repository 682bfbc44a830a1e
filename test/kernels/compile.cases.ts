import { type ShaderName, shaders } from '../../src/kernels/index.ts';
import type { Case } from '../support/case.ts';
import { ok } from '../support/check.ts';

/** Workgroup sizes of kernels that work on one row or latent: SwiftShader's, lavapipe's, hardware's. */
const perRow = [4, 8, 64].map((WG) => ({ WG }));

const either = (name: string): Record<string, number>[] => [{ [name]: 0 }, { [name]: 1 }];

const together = (...choices: Record<string, number>[][]): Record<string, number>[] => (
  choices.reduce((variants, choice) => variants.flatMap((variant) => choice.map((one) => ({ ...variant, ...one }))))
);

/** The constants that launchers give, of shaders that take any. The group counts of topk_bisect between these differ in nothing else. */
const variants: Partial<Record<ShaderName, Record<string, number>[]>> = {
  prepare_rows: together(perRow, [0, 1, 2].map((NORMALISE) => ({ NORMALISE }))),
  residual_rows: perRow,
  auxiliary_rows: together(perRow, either('AFFINE')),
  row_norms: perRow,
  decode_sparse: together(perRow, either('START')),
  decode_dense: together(perRow, either('START')),
  kept_gradients: either('RELU'),
  kept_gradients_direct: either('RELU'),
  latent_gradients: together(perRow, either('ADD')),
  column_sums: either('WEIGHTED'),
  index_count: either('KEEP_ALL'),
  index_place: either('KEEP_ALL'),
  topk_rows: together([{ WG: 256 }], either('SCALED'), either('FROM_LIST')),
  topk_bisect: together([{ WG: 4, GROUPS: 16 }, { WG: 8, GROUPS: 128 }], either('SCALED'), either('FROM_LIST')),
};

export const cases: Case[] = (Object.keys(shaders) as ShaderName[]).map((name) => ({
  name: `${name}.wgsl compiles as it stands and under the constants that launchers give`,
  async run(gpu) {
    for (const constants of [{}, ...(variants[name] ?? [])]) {
      gpu.device.pushErrorScope('validation');
      gpu.kernel({ name, text: shaders[name].text }, constants);
      const error = await gpu.device.popErrorScope();
      ok(error === null, `${JSON.stringify(constants)}: ${error?.message}`);
    }
  },
}));
