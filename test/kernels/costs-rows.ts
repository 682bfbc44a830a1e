/** Equations of the kernels that go over their data once, carried out term by term on a meter. Each is what the shader's header says. */
import { each, eachOf, type Meter } from '../support/meter.ts';

type Numbers = Record<string, number>;

/** Draws a launch, and carries it out. */
export interface CountedKernel {
  constants?: (from: (low: number, high: number) => number) => Numbers;
  parameters: (from: (low: number, high: number) => number) => Numbers;
  bound?: (p: Numbers, c: Numbers) => Record<string, { rows: number; of: number; columns: number | undefined }>;
  count: (m: Meter, p: Numbers, c: Numbers) => void;
}

const flag = (name: string) => (from: (low: number, high: number) => number): Numbers => ({ [name]: from(0, 1) });
const rowsOfFrames = (from: (low: number, high: number) => number): Numbers => ({ rows: from(1, 9), d_in: from(2, 11) });
const rowsOfCodes = (from: (low: number, high: number) => number): Numbers => ({ rows: from(1, 9), latents: from(2, 11), keep: from(0, 1) });

/** A sum into a tensor of one row, added to what is there where `keep`. */
const accumulate = (m: Meter, tensor: string, i: number, keep: number): void => (keep ? m.change(tensor, i) : m.write(tensor, i));

export const rowKernels: Record<string, CountedKernel> = {
  activate: { parameters: (from) => ({ elements: from(1, 90), latents: from(1, 12) }), count: (m, { elements, latents }) => each(elements!, (n) => { m.change('h', n); m.read('threshold', n % latents!); }) },
  adam: {
    parameters: (from) => ({ quads: from(1, 30) }),
    count(m, { quads }) {
      m.read('clip', 0);
      each(4 * quads!, (n) => {
        m.read('grad', n); m.do(1); // gradient
        m.change('m', n); m.do(2 + 1);
        m.change('v', n); m.do(1 + 2 + 1);
        m.change('parameter', n); m.do(1 /* rate m */ + 1 /* sqrt */ + 1 /* root */ + 1 /* epsilon */ + 1 /* division */ + 1);
      });
    },
  },
  add_rows: { parameters: (from) => ({ quads: from(1, 30) }), count: (m, { quads }) => each(4 * quads!, (n) => { m.read('b', n); m.change('a', n); m.do(2); }) },
  auxiliary_rows: {
    constants: (from) => ({ AFFINE: from(0, 1), RAW: from(0, 1), ADD: from(0, 1) }), parameters: rowsOfFrames,
    count(m, { rows, d_in }, { AFFINE, RAW, ADD }) {
      m.read('dead', 0);
      each(rows!, (b) => {
        m.do(1 + 1); // n_dead / k_aux, coefficient
        m.do(1 + 1 + (AFFINE ? 1 : 0)); // 2 weight / B gain
        if (AFFINE || RAW) [0, 1].forEach((n) => m.read('affine', b, n));
        each(d_in!, (d) => {
          m.read('t', b, d); m.read('out', b, d); m.change('r_aux', b, d);
          if (RAW) m.do(2);
          if (AFFINE) m.do(2);
          m.do(1 /* e */ + 1 /* a - e */ + 1 /* scale */ + 2 /* square, sum */);
        });
        m.do(1);
        if (ADD) { m.change('loss', b); m.do(1); } else m.write('loss', b);
      });
    },
  },
  column_sums: {
    constants: flag('WEIGHTED'), parameters: (from) => ({ rows: from(1, 300), stride: 4 * from(1, 3), first_row: 128, begin_block: 0 }),
    count: (m, { rows, stride }, { WEIGHTED }) => eachOf(rows!, stride!, (row, d) => {
      m.read('M', row, d);
      if (WEIGHTED) { m.read('weights', row); m.do(1); }
      m.do(1); m.write('partial', Math.floor(row / 128), d);
    }),
  },
  column_total: {
    parameters: (from) => ({ blocks: from(1, 9), stride: 4 * from(1, 3), keep: from(0, 1) }),
    count: (m, { blocks, stride, keep }) => each(stride!, (d) => {
      each(blocks!, (block) => { m.read('partial', block, d); m.do(1); });
      m.do(1); accumulate(m, 'total', d, keep!);
      if (keep) m.do(1);
    }),
  },
  error_rows: {
    parameters: rowsOfFrames,
    count: (m, { rows, d_in }) => each(rows!, (b) => {
      m.do(1);
      each(d_in!, (d) => { m.read('t', b, d); m.change('r', b, d); m.do(1 + 1 + 2); });
      m.write('loss', b);
    }),
  },
  gated_activate: {
    parameters: (from) => ({ elements: from(1, 90), latents: from(1, 12) }),
    count: (m, { elements, latents }) => each(elements!, (n) => { m.change('h', n); [0, 1, 2].forEach((part) => m.read('traits', n % latents!, part)); m.do(3); }),
  },
  gated_rows: {
    parameters: rowsOfCodes,
    count: (m, { rows, latents }) => eachOf(rows!, latents!, (b, i) => {
      m.read('gates', b, i); [0, 1, 2].forEach((part) => m.read('traits', i, part)); m.write('f', b, i); m.write('l0', b);
      m.do(3 /* m */ + 1 /* l0 */);
    }),
  },
  gated_latents: {
    parameters: rowsOfCodes,
    count: (m, { rows, latents, keep }) => each(latents!, (i) => {
      [0, 1, 2].forEach((part) => m.read('traits', i, part));
      each(rows!, (b) => { m.read('gates', b, i); m.change('df', b, i); m.do(1 /* h */ + 2 /* m */ + 1 /* dh */ + 1 /* b_mag */ + 2 /* r_mag */ + 1 /* pulls */); });
      for (const sum of ['b_mag', 'r_mag', 'pulls', 'counts']) accumulate(m, sum, i, keep!);
    }),
  },
  gated_traits: { parameters: (from) => ({ latents: from(1, 20) }), count: (m, { latents }) => each(latents!, (i) => { ['r_mag', 'b_mag', 'b_gate'].forEach((one) => m.read(one, i)); [0, 1, 2, 3].forEach((n) => m.write('traits', i, n)); m.do(1); }) },
  jumprelu_latents: {
    constants: (from) => ({ SPARSITY: from(0, 2), PRE_ACT: from(0, 1), TO_INPUT: from(0, 1) }), parameters: rowsOfCodes,
    count(m, { rows, latents, keep }, { SPARSITY, PRE_ACT, TO_INPUT }) {
      if (SPARSITY === 2) m.read('slope', 0);
      each(latents!, (i) => {
        [0, 1, 2, 3].forEach((n) => m.read('traits', i, n));
        m.do(1 /* lambda / B */ + 1 /* c / B */ + 1 /* 1 / w */ + 1 /* w / 2 */);
        each(rows!, (b) => {
          m.read('h', b, i); m.change('df', b, i);
          if (SPARSITY === 1) {
            m.do(3 + 1); // exp(-2 s f n)
            m.do(3 + 1 + 1 + 1); // share s 4 x / (1 + x)^2
            m.do(2 + 2); // to df, and to the norm's gradient
          }
          m.do(1 /* h - theta */ + 3 /* K (theta df + pressure) */);
          if (TO_INPUT) m.do(1);
          if (PRE_ACT) m.do(2 /* dh -= lambda n */ + 1 /* dtheta += */ + 3 /* lambda (theta - h) to the norm's */);
          m.do(1 /* sum of dh */ + 2 /* dtheta's */);
        });
        for (const sum of ['bias', 'stretch', 'threshold', 'counts']) accumulate(m, sum, i, keep!);
      });
    },
  },
  jumprelu_rows: {
    constants: (from) => ({ SPARSITY: from(0, 2), PRE_ACT: from(0, 1) }), parameters: rowsOfCodes,
    count: (m, { rows, latents }, { SPARSITY, PRE_ACT }) => each(rows!, (b) => {
      each(latents!, (i) => {
        m.read('h', b, i); m.read('theta', i); m.write('f', b, i); m.do(1);
        if (SPARSITY === 1) { m.read('n', i); m.do(3 + 1 /* exp */ + 3 /* tanh */ + 1); }
        if (PRE_ACT) { m.read('n', i); m.read('lambda', i); m.do(1 + 2 + 1); }
      });
      m.write('l0', b);
      if (SPARSITY! < 2) { m.write('loss', b, 0); m.do(1); }
      if (PRE_ACT) m.write('loss', b, 1);
    }),
  },
  jumprelu_traits: {
    constants: flag('LOG'), parameters: (from) => ({ latents: from(1, 20) }),
    count(m, { latents }, { LOG }) {
      m.read('dead', 0);
      each(latents!, (i) => { m.read('threshold', i); m.read('norms', i); [0, 1, 2, 3].forEach((n) => m.write('traits', i, n)); if (LOG) m.do(1); });
    },
  },
  latent_squares: {
    constants: (from) => ({ NORMS: from(0, 1), VECTORS: from(1, 3) }), parameters: (from) => ({ latents: from(1, 9), stride: 4 * from(1, 4), enc_stride: 4 * from(1, 4) }),
    count: (m, { latents, stride, enc_stride }, { NORMS, VECTORS }) => each(latents!, (i) => {
      if (NORMS) { m.read('pull', i); m.do(1 /* root */ + 1 /* division */); }
      each(stride!, (d) => {
        m.read('gradient', i, d);
        if (NORMS) { m.read('W', i, d); m.write('gradient', i, d); m.do(2 /* |W|^2 */ + 2); }
        m.do(2);
      });
      each(enc_stride!, (d) => { m.read('enc', i, d); m.do(2); });
      each(VECTORS!, (n) => { m.read('vector', n, i); m.do(2); });
      m.write('squares', i);
    }),
  },
  level_rows: {
    parameters: rowsOfFrames,
    count: (m, { rows, d_in }) => each(rows!, (b) => {
      [0, 1].forEach((n) => m.read('affine', b, n)); m.do(2);
      each(d_in!, (d) => { m.read('t', b, d); m.read('outer', b, d); m.change('r', b, d); m.do(2 + 1 /* e */ + 2 /* outer + scale e */ + 2); });
      m.write('loss', b);
    }),
  },
  prepare_rows: {
    constants: (from) => ({ NORMALISE: from(0, 2) }), parameters: (from) => ({ rows: from(1, 9), d_in: 4 * from(1, 3), stride: 12 }),
    count: (m, { rows, d_in, stride }, { NORMALISE }) => each(rows!, (b) => {
      each(d_in!, (d) => {
        m.read('frames', b, d); m.read('centre', d); m.read('b_dec', d); m.do(2 /* t */ + 2 /* - subtract b_dec */);
        if (NORMALISE === 1) m.do(2 /* square, sum */ + 1 /* times inverse */);
        if (NORMALISE === 2) m.do(1 /* sum */ + 1 /* deviation */ + 2 /* square, sum */ + 1);
      });
      if (NORMALISE === 1) m.do(1 + 1 + 1 + 1); // two roots, their ratio, the gain
      if (NORMALISE === 2) m.do(1 /* mean */ + 1 + 1 + 1 /* sd */ + 1 + 1 /* 1 / (sd + 1e-5) */);
      each(stride!, (d) => { m.write('t', b, d); m.write('xc', b, d); });
      [0, 1].forEach((n) => m.write('affine', b, n));
    }),
  },
  project_rows: {
    parameters: (from) => ({ rows: from(1, 9), stride: 4 * from(1, 4) }),
    count: (m, { rows, stride }) => each(rows!, (i) => { each(stride!, (d) => { m.read('W', i, d); m.change('grad', i, d); m.do(2 + 2 + 2); }); m.change('squares', i); m.do(1 + 2); }),
  },
  random_uniform: { parameters: (from) => ({ rows: from(1, 9), columns: 5, stride: 8 }), count: (m, { rows, columns, stride }) => { eachOf(rows!, columns!, () => m.do(3)); eachOf(rows!, stride!, (i, d) => m.write('W', i, d)); } },
  relu_latents: {
    constants: (from) => ({ P: from(0, 2), ADD: from(0, 1) }), parameters: rowsOfCodes,
    count: (m, { rows, latents, keep }, { P, ADD }) => each(latents!, (i) => {
      m.read('norms', i);
      each(rows!, (b) => {
        m.read('df', b, i); m.read('slopes', b); m.change('f', b, i);
        if (P === 2) m.do(1 /* f n */ + 1 /* slope */);
        if (P === 0) m.do(1 + 1 /* power */ + 1);
        m.do(2 /* df + dw n */ + 1 /* sum */ + 2 /* sum of dw f */);
        if (ADD) { m.read('more', b, i); m.do(1); }
      });
      for (const sum of ['bias', 'stretch', 'counts']) accumulate(m, sum, i, keep!);
    }),
  },
  relu_rows: {
    constants: (from) => ({ P: from(0, 2) }), parameters: rowsOfCodes,
    count: (m, { rows, latents }, { P }) => each(rows!, (b) => {
      each(latents!, (i) => { m.read('norms', i); m.change('h', b, i); m.do(1 /* f n */ + (P === 1 ? 0 : 1) + 1 /* sum */ + 1 /* count */); });
      if (P !== 1) m.do(1 /* root */ + 2 /* S^(1-p), its product */);
      m.do(1 /* c S */ + 1 /* c / B */);
      ['loss', 'slopes', 'l0'].forEach((one) => m.write(one, b));
    }),
  },
  remove_projection: {
    constants: flag('FIRST'), parameters: (from) => ({ rows: from(1, 9), columns: from(1, 12) }),
    count: (m, { rows, columns }, { FIRST }) => each(rows!, (b) => {
      m.do(1 + 1 + 1 + 1); // (sqrt + 1e-6)^2, the division
      each(columns!, (d) => {
        m.read('a', b, d); m.change('x', b, d); m.do(2 + 2 + 1 + 1);
        if (FIRST) m.write('taken', b, d); else { m.change('taken', b, d); m.do(1); }
      });
    }),
  },
  residual_rows: {
    constants: (from) => ({ RAGGED: from(0, 1), COUNT: from(0, 1) }), parameters: (from) => ({ ...rowsOfFrames(from), k: from(1, 9) }),
    count(m, { rows, d_in, k }, { RAGGED, COUNT }) {
      each(rows!, (b) => {
        [0, 1].forEach((n) => m.read('affine', b, n)); m.do(2);
        each(d_in!, (d) => { m.read('t', b, d); m.read('mean', d); m.change('r', b, d); m.write('g', b, d); m.do(2 /* out */ + 1 /* e */ + 1 /* g */ + 2 + 1 /* deviation */ + 2); });
        m.do(1); // ratio
        [0, 1, 2, 3].forEach((n) => m.write('stats', b, n));
        if (!COUNT) m.read('values', b);
      });
      if (COUNT) each(RAGGED ? k! : rows! * k!, (n) => { m.read('values', n); m.do(1); });
      if (RAGGED) each(rows! + 1, (b) => m.read('offsets', b));
    },
  },
  round_bias: { parameters: (from) => ({ rows: from(1, 9), columns: from(1, 9) }), count: (m, { rows, columns }) => eachOf(rows!, columns!, (b, i) => { m.change('a', b, i); m.read('bias', i); m.do(1); }) },
  unpack_rows: {
    parameters: (from) => ({ quads: 2 * from(1, 9), columns: from(5, 8), stride: 8 }),
    count(m, { quads, columns, stride }) {
      eachOf((4 * quads!) / stride!, columns!, (b, i) => m.read('packed', Math.floor((b * columns! + i) / 2)));
      each(4 * quads!, (n) => m.write('frames', n));
    },
  },
  row_norms: {
    constants: flag('SQUARED'), parameters: (from) => ({ latents: from(1, 9), stride: 4 * from(1, 3) }),
    count: (m, { latents, stride }, { SQUARED }) => each(latents!, (i) => { each(stride!, (d) => { m.read('W', i, d); m.do(2); }); if (!SQUARED) m.do(1); m.write('norms', i); }),
  },
  scale_rows: { parameters: (from) => ({ rows: from(1, 9), stride: 4 * from(1, 3) }), count: (m, { rows, stride }) => each(rows!, (i) => { m.read('norms', i); m.do(1); each(stride!, (d) => { m.change('W', i, d); m.do(1); }); }) },
};
