import { type ShaderName, shaders } from '../../src/kernels/index.ts';
import type { Case } from '../support/case.ts';
import { ok } from '../support/check.ts';

/** Workgroup sizes of kernels that work on one row or latent: SwiftShader's and hardware's. lavapipe's 8 lies between. */
const perRow = [4, 64].map((WG) => ({ WG }));

const either = (name: string): Record<string, number>[] => [{ [name]: 0 }, { [name]: 1 }];

const together = (...choices: Record<string, number>[][]): Record<string, number>[] => (
  choices.reduce((variants, choice) => variants.flatMap((variant) => choice.map((one) => ({ ...variant, ...one }))))
);

/** The constants that launchers give, of shaders that take any. The group counts of topk_bisect and topk_tops between these differ in nothing else. */
const variants: Partial<Record<ShaderName, Record<string, number>[]>> = {
  encode_tiled: [{ HALF: 1 }],
  encode_wide: [{ HALF: 1 }],
  encode_resident: [...[4, 8].map((LANES) => ({ LANES })), ...together([{ LANES: 8, TOPS: 1 }], either('SCALED'), either('ABSOLUTE'))],
  prepare_rows: together(perRow, [0, 1, 2].map((NORMALISE) => ({ NORMALISE }))),
  residual_rows: together(perRow, either('RAGGED')),
  level_rows: perRow,
  auxiliary_rows: together(perRow, [{ AFFINE: 0 }, { AFFINE: 1 }, { AFFINE: 0, RAW: 1, ADD: 0 }, { AFFINE: 0, RAW: 1, ADD: 1 }]),
  row_norms: together(perRow, either('SQUARED')),
  project_rows: perRow,
  decode_sparse: together(perRow, either('START'), either('RAGGED')),
  weighted_rows_tiled: either('ALONG'),
  weighted_rows_resident: [{ LANES: 8, ALONG: 1 }],
  decode_image: [{ LANES: 8, START: 0 }, { LANES: 8, RAGGED: 1 }],
  kept_gradients_image: [{ LANES: 8, RELU: 0 }, { LANES: 8, RAGGED: 1 }],
  reconstruct_image: [...[8, 16, 24].map((PAIRS) => ({ LANES: 8, PAIRS })), { LANES: 4, RELU: 0 }],
  latent_gradients_image: [{ LANES: 8, ADD: 1 }],
  latent_squares: together(perRow, either('NORMS'), [1, 2, 3].map((VECTORS) => ({ VECTORS }))),
  error_rows: perRow,
  relu_rows: together(perRow, [0, 1, 2].map((P) => ({ P }))),
  relu_latents: together([0, 1, 2].map((P) => ({ P })), either('ADD')),
  gated_rows: perRow,
  jumprelu_traits: either('LOG'),
  jumprelu_rows: together(perRow, [0, 1, 2].map((SPARSITY) => ({ SPARSITY })), either('PRE_ACT')),
  jumprelu_latents: together([0, 1, 2].map((SPARSITY) => ({ SPARSITY })), either('PRE_ACT'), either('TO_INPUT')),
  kept_gradients: together(either('RELU'), either('RAGGED')),
  kept_gradients_direct: together(either('RELU'), either('RAGGED')),
  latent_gradients: together(perRow, either('ADD')),
  gathered_gradients: together(perRow, either('ADD'), [0, 1, 2].map((TERM) => ({ TERM }))),
  pursuit_choose: perRow,
  pursuit_gradients: perRow,
  column_sums: either('WEIGHTED'),
  index_count: together(either('KEEP_ALL'), either('RAGGED')),
  index_place: together(either('KEEP_ALL'), either('RAGGED')),
  unpack_rows: together(either('BFLOAT'), either('ALIGNED')),
  topk_rows: together([{ WG: 256, SCALED: 1 }], [{ FROM_LIST: 0 }, { FROM_LIST: 1, ABSOLUTE: 1 }]),
  topk_bisect: [
    ...together([{ WG: 4, GROUPS: 16 }], [{ SCALED: 0, FROM_LIST: 1 }, { SCALED: 1, FROM_LIST: 0 }, { SCALED: 1, FROM_LIST: 1, ABSOLUTE: 1 }]),
    { WG: 8, GROUPS: 128, SCALED: 1, FROM_LIST: 1, SHORT: 4096 },
  ],
  topk_listed: [{ WG: 8, SCALED: 1, HELD: 96 }, { WG: 8, ABSOLUTE: 1, HELD: 32 }, { WG: 4, SCALED: 1, ABSOLUTE: 1, HELD: 128 }],
  topk_tops: [{ WG: 8, SCALED: 1 }, { WG: 8, ABSOLUTE: 1 }, { WG: 4, GROUPS: 256, HELD: 48, ROOM: 128 }],
  groupmax_rows: either('SCALED'),
  batchtopk_histogram: together([4, 256].map((WG) => ({ WG })), either('SCALED')),
  batchtopk_count: either('SCALED'),
  batchtopk_place: either('SCALED'),
};

export const cases: Case[] = (Object.keys(shaders) as ShaderName[]).map((name) => ({
  name: `${name}.wgsl compiles as it stands and under the constants that launchers give`,
  async run(gpu) {
    if (/^enable subgroups;/m.test(shaders[name].text) && !gpu.subgroups) return; // it is never compiled there
    for (const constants of [{}, ...(variants[name] ?? [])]) {
      if ('HALF' in constants && !gpu.features.includes('shader-f16')) continue; // as little
      gpu.device.pushErrorScope('validation');
      gpu.kernel({ name, text: shaders[name].text }, constants);
      const error = await gpu.device.popErrorScope();
      ok(error === null, `${JSON.stringify(constants)}: ${error?.message}`);
    }
  },
}));
