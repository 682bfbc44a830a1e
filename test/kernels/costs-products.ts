/** Equations of the kernels that multiply, select and list, carried out term by term on a meter. Kept pairs are full, and lie evenly on latents. */
import { each, eachOf, type Meter } from '../support/meter.ts';
import type { CountedKernel } from './costs-rows.ts';

type From = (low: number, high: number) => number;
type Numbers = Record<string, number>;

const tensor = (rows: number, columns: number | undefined = undefined, of = rows) => ({ rows, of, columns });

/** Pairs of rows with k slots each, for a shard that has one of two halves of the latents: half of them are its own. */
const kept = (from: From): Numbers => ({ rows: 2 * from(1, 5), k: from(1, 6), latents: from(1, 7), stride: 4 * from(1, 3), first_latent: 0, before: 0, base_step: 0 });
const pairsOf = ({ rows, k }: Numbers, { RAGGED = 0 }: Numbers): number => (RAGGED ? 2 * k! : rows! * k!);

/** The launch of a ragged selection says how many pairs there are at all by k; an even number, so that halves are whole. */
const slots = (p: Numbers, c: Numbers): Numbers => ({ ...p, k: c['RAGGED'] ? 2 * p['k']! : p['k']! });

/** Every second pair is the shard's, on its latents in turn. */
function eachOwn(pairs: number, latents: number, work: (pair: number, latent: number) => void): void {
  each(pairs / 2, (n) => work(2 * n, n % latents));
}

const offsets = (m: Meter, rows: number, ragged: number): void => { if (ragged) each(rows + 1, (b) => m.read('offsets', b)); };

function encode(m: Meter, { begin_row, rows, begin_latent, latents, stride }: Numbers, { TOPS = 0, SCALED = 0 }: Numbers): void {
  eachOf(rows! - begin_row!, latents! - begin_latent!, (b, i) => {
    each(stride!, (d) => { m.read('x', b, d); m.read('W', i, d); m.do(2); });
    m.read('bias', i); m.do(1); m.write('h', b, i);
    if (TOPS) { if (SCALED) { m.read('norms', i); m.do(1); } m.write('tops', b, Math.floor(i / 8)); }
  });
}

const product = { parameters: (from: From) => ({ begin_row: from(0, 3), rows: from(4, 9), begin_latent: 8 * from(0, 1), latents: from(9, 25), stride: 4 * from(1, 3) }), count: encode };

/** Rounding to float16 is no operation that is counted. */
const half = (from: From): Numbers => ({ HALF: from(0, 1) });

const weighted: CountedKernel = {
  parameters: (from) => ({ rows: from(1, 6), terms: from(1, 7), stride: 4 * from(1, 3), start: from(0, 2) }),
  count: (m, { rows, terms, stride, start }) => eachOf(rows!, stride!, (r, d) => {
    if (start === 0) m.read('C', r, d);
    if (start === 2) m.read('bias', d);
    each(terms!, (k) => { m.read('A', r, k); m.read('B', k, d); m.do(2); });
    m.write('C', r, d);
  }),
};

const keptGradients: CountedKernel = {
  constants: (from) => ({ RELU: from(0, 1), RAGGED: from(0, 1) }), parameters: kept, bound: ({ latents }) => ({ W_dec: tensor(latents!, undefined, 2 * latents!) }),
  count(m, p, { RELU, RAGGED }) {
    const { rows, latents, stride, k } = p as Numbers, pairs = RAGGED ? k! : pairsOf(p, {});
    eachOf(rows!, stride!, (b, d) => m.read('g', b, d));
    each(pairs, (pair) => m.read('indices', pair));
    eachOwn(pairs, latents!, (pair, i) => { each(stride!, (d) => { m.read('W', i, d); m.do(2); }); if (RELU) m.read('values', pair); m.write('dz', pair); });
    offsets(m, rows!, RAGGED!);
  },
};

const reconstruct: CountedKernel = {
  parameters: (from) => ({ rows: from(1, 5), k: from(1, 6), latents: from(1, 7), d_in: 4 * from(1, 3), stride: 12, keep_out: from(0, 1) }),
  count(m, { rows, k, latents, d_in, stride, keep_out }) {
    each(stride!, (d) => m.read('b_dec', d));
    eachOf(rows!, k!, (b, j) => {
      const pair = b * k! + j;
      ['indices', 'values'].forEach((one) => m.read(one, pair));
      m.do(1); // counted
      each(stride!, (d) => { m.read('W', pair % latents!, d); m.do(2 /* r */ + 2 /* dz */); });
      m.write('dz', pair);
    });
    each(rows!, (b) => {
      [0, 1].forEach((n) => m.read('affine', b, n)); m.do(2);
      each(d_in!, (d) => { m.read('t', b, d); m.read('mean', d); m.write('g', b, d); m.do(2 /* out */ + 1 /* e */ + 1 /* g */ + 2 + 1 /* deviation */ + 2); if (keep_out) m.write('out', b, d); });
      m.do(1); // ratio
      [0, 1, 2, 3].forEach((n) => m.write('stats', b, n));
    });
  },
};

/** Latents' gradients from 2n entries of which n are the shard's, over frames that they name in turn. */
const gathered = (from: From): Numbers => ({ latents: from(1, 7), stride: 4 * from(1, 3), picks: from(1, 3), rows: 2 * from(1, 4) });

const attention = (from: From): Numbers => ({ rows: from(1, 6), first_row: from(1, 4), heads: from(1, 3), keys: from(1, 8) });
const seenBy = ({ first_row, keys }: Numbers, { OWN }: Numbers, row: number): number => (OWN ? Math.min(keys!, first_row! + row) : keys!);

const selected = (from: From): Numbers => ({ rows: from(1, 6), latents: 4 * from(2, 6), k: from(1, 4), slots: 5 });
const scored = (m: Meter, rows: number, candidates: number, scaled: number): void => eachOf(rows, candidates, (b, i) => { m.read('h', b, i); if (scaled) { m.read('norms', i); m.do(1); } });
const topk: CountedKernel = {
  constants: (from) => ({ SCALED: from(0, 1), FROM_LIST: from(0, 1), SHORT: 128 * from(0, 1) }), parameters: selected,
  count(m, { rows, latents, k, slots: room }, { SCALED, FROM_LIST, SHORT }) {
    if (SHORT) return m.read('list', 0);
    scored(m, rows!, FROM_LIST ? k! : latents!, SCALED!);
    if (FROM_LIST) each(k! + 1, (n) => m.read('list', n));
    eachOf(rows!, room!, (b, n) => { m.write('indices', b, n); m.write('values', b, n); });
  },
};

/** One side of a contrastive loss: every pair is of its row's own, on latents in turn. */
const side = { parameters: (from: From): Numbers => ({ rows: from(1, 5), high: from(1, 6), room: from(1, 12) }), bound: ({ room }: Numbers) => ({ indices: tensor(1, room!), norms: tensor(1, 100) }) };

const decoding: CountedKernel = {
  constants: (from) => ({ START: from(0, 1), RAGGED: from(0, 1) }), parameters: (from) => ({ ...kept(from), base_step: from(0, 1) }), bound: ({ latents }) => ({ W_dec: tensor(latents!, undefined, 2 * latents!) }),
  count(m, p, { START, RAGGED }) {
    const { rows, latents, stride, k, base_step } = p as Numbers, pairs = RAGGED ? k! : pairsOf(p, {});
    eachOf(rows!, stride!, (b, d) => { m.write('r', b, d); if (START) { m.read('base', base_step ? b : 0, d); m.do(1); } else m.read('r', b, d); });
    each(pairs, (pair) => m.read('indices', pair));
    eachOwn(pairs, latents!, (pair, i) => { m.read('values', pair); each(stride!, (d) => { m.read('W', i, d); m.do(2); }); });
    offsets(m, rows!, RAGGED!);
  },
};

const latentGradients: CountedKernel = {
  constants: (from) => ({ ADD: from(0, 1) }), parameters: gathered,
  bound: ({ latents, rows }) => ({ grad_W_dec: tensor(latents!, undefined, 2 * latents!), entries: tensor(4 * rows!), g: tensor(rows!) }),
  count(m, { latents, stride, rows }, { ADD }) {
    each(latents! + 1, (i) => m.read('starts', i));
    const touched = new Set<number>();
    eachOwn(4 * rows!, latents!, (pair, i) => {
      touched.add(i); [0, 1, 2].forEach((n) => m.read('entries', pair, n));
      each(stride!, (d) => { m.read('g', (pair / 2) % rows!, d); m.read('xc', (pair / 2) % rows!, d); m.do(2 + 2); });
      m.do(1);
    });
    each(latents!, (i) => {
      if (ADD && !touched.has(i)) return;
      each(stride!, (d) => { for (const one of ['dec', 'enc']) { if (ADD) m.read(one, i, d); m.write(one, i, d); m.do(2); } });
      if (ADD) m.read('bias', i);
      m.write('bias', i); m.write('squares', i); m.do(2);
    });
  },
};

export const productKernels: Record<string, CountedKernel> = {
  encode_direct: product, encode_tiled: { ...product, constants: half }, encode_wide: { ...product, constants: half }, encode_resident: { ...product, constants: (from) => ({ TOPS: from(0, 1), SCALED: from(0, 1) }) },
  weighted_rows_direct: weighted, weighted_rows_resident: weighted, weighted_rows_tiled: weighted,
  kept_gradients: keptGradients, kept_gradients_direct: keptGradients, kept_gradients_image: keptGradients,
  reconstruct_image: reconstruct,
  decode_sparse: decoding, decode_image: decoding,

  latent_gradients: latentGradients, latent_gradients_image: latentGradients,

  gathered_gradients: {
    constants: (from) => ({ ADD: from(0, 1), TERM: from(0, 2) }), parameters: gathered,
    bound: ({ latents, rows, picks }) => ({ grad: tensor(latents!, undefined, 2 * latents!), entries: tensor(2 * rows! * picks!), M: tensor(rows!) }),
    count(m, { latents, stride, rows, picks }, { ADD, TERM }) {
      each(latents! + 1, (i) => m.read('starts', i));
      const touched = new Set<number>();
      eachOwn((TERM === 2 ? 1 : 2) * rows! * picks!, latents!, (pair, i) => {
        touched.add(i); [0, 1].forEach((n) => m.read('entries', pair, n));
        each(stride!, (d) => { m.read('M', TERM === 2 ? pair : (pair / 2) % rows!, d); m.do(TERM === 2 ? 1 : 2); });
        if (TERM === 1) m.do(1);
      });
      each(latents!, (i) => {
        if (ADD && !touched.has(i)) return;
        each(stride!, (d) => { if (ADD) m.read('grad', i, d); m.write('grad', i, d); m.do(2); });
        m.write('squares', i);
        if (TERM === 1) { if (ADD) m.read('bias', i); m.write('bias', i); m.do(2); }
      });
    },
  },
  attention_scores: {
    constants: (from) => ({ FIRST: from(0, 1), OWN: from(0, 1) }), parameters: (from) => ({ ...attention(from), width: from(1, 5) }),
    count(m, p, c) {
      const { rows, heads, width, keys } = p as Numbers, { FIRST } = c;
      eachOf(rows!, heads!, (b, head) => {
        each(width!, (d) => m.read('q', b, head, d));
        if (FIRST) { each(width!, (d) => { m.read('bias', head, d); m.do(2); }); m.do(1); } else [0, 1].forEach((n) => m.read('running', b, head, n));
        each(seenBy(p, c, b), (j) => { each(width!, (d) => { m.read('k', j, head, d); m.do(2); }); m.do(1 /* scale */ + 2 /* exp(s - m) */ + 1 /* sum */); });
        each(keys!, (j) => m.write('w', b, head, j));
        m.do(2 /* exp(m' - m) */ + 2 /* l */); [0, 1].forEach((n) => m.write('running', b, head, n)); m.write('carry', b, head);
      });
    },
  },
  attention_values: {
    constants: (from) => ({ FIRST: from(0, 1), OWN: from(0, 1), LAST: from(0, 1) }), parameters: (from) => { const p = attention(from); return { ...p, latents: 3 * p['heads']! }; },
    count(m, p, c) {
      const { rows, latents } = p as Numbers, { FIRST, LAST } = c;
      eachOf(rows!, latents!, (b, i) => {
        const head = Math.floor(i / 3);
        each(seenBy(p, c, b), (j) => { m.read('w', b, head, j); m.read('v', j, i); m.do(2); });
        if (FIRST) m.read('bias', i); else m.read('o', b, i);
        m.read('carry', b, head); m.do(2); m.write('o', b, i);
        if (LAST) { m.read('l', b, head); m.do(1); }
      });
    },
  },
  pursuit_choose: {
    parameters: (from) => ({ rows: from(1, 6), latents: from(1, 9), stride: 4 * from(1, 3), iteration: from(0, 3), threshold: from(0, 1) }),
    count: (m, { rows, latents, stride, iteration, threshold }) => each(rows!, (b) => {
      if (iteration! > 0 && threshold! > 0) { each(stride!, (d) => { m.read('residual', b, d); m.do(2); }); m.do(1); }
      each(latents!, (i) => m.read('h', b, i));
      each(iteration!, (t) => { m.read('indices', b, t); m.read('first', b, t); });
      ['indices', 'values', 'first'].forEach((one) => m.write(one, b, iteration!)); m.change('done', b);
    }),
  },
  pursuit_subtract: {
    parameters: kept, bound: ({ latents }) => ({ W_dec: tensor(latents!, undefined, 2 * latents!) }),
    count(m, { rows, latents, stride }) {
      each(rows!, (b) => { m.read('indices', b); m.read('values', b); });
      eachOwn(rows!, latents!, (b, i) => each(stride!, (d) => { m.read('W', i, d); m.change('residual', b, d); m.do(2); }));
    },
  },
  pursuit_gradients: {
    parameters: (from) => ({ ...kept(from), first_pick: 1, end_pick: from(2, 4) }), bound: ({ latents }) => ({ W_dec: tensor(latents!, undefined, 2 * latents!) }),
    count(m, { rows, latents, stride, first_pick, end_pick }) {
      const picks = rows! * (end_pick! - first_pick!);
      each(picks, (n) => m.read('indices', n));
      eachOf(rows!, stride!, (b, d) => { m.change('q', b, d); m.change('r', b, d); });
      eachOwn(picks, latents!, (n, i) => { m.read('values', n); m.read('first', n); each(stride!, (d) => { m.read('W', i, d); m.change('shares', n, d); m.do(2 /* c */ + 2 /* r */ + 4 /* share */ + 2 /* q */); }); });
    },
  },
  pursuit_merge: { parameters: (from) => ({ rows: from(1, 6), picks: from(1, 6) }), count: (m, { rows, picks }) => eachOf(rows!, picks!, (b, t) => { m.do(1); ['indices', 'values', 'first'].forEach((one) => m.change(one, b, t)); }) },
  topk_rows: topk,
  topk_bisect: topk,
  topk_listed: { ...topk, constants: (from) => ({ SCALED: from(0, 1) }), count: (m, parameters, constants) => topk.count(m, parameters, { ...constants, FROM_LIST: 1 }) },
  topk_tops: {
    constants: (from) => ({ SCALED: from(0, 1) }), parameters: selected,
    count(m, { rows, latents, k, slots: room }, c) {
      // The eights with the k largest scores of each row, which begin anywhere in it.
      eachOf(rows!, Math.min(8 * k!, latents!), (b, n) => { m.read('h', b, n); if (c['SCALED']) { m.read('norms', (b * Math.min(8 * k!, latents!) + n) % latents!); m.do(1); } });
      eachOf(rows!, latents!, (b, i) => m.read('tops', b, Math.floor(i / 8)));
      eachOf(rows!, room!, (b, n) => { m.write('indices', b, n); m.write('values', b, n); });
    },
  },
  groupmax_rows: { constants: (from) => ({ SCALED: from(0, 1) }), parameters: selected, count(m, { rows, latents, k }, { SCALED }) { scored(m, rows!, latents!, SCALED!); eachOf(rows!, k!, (b, n) => { m.write('indices', b, n); m.write('values', b, n); }); } },
  batchtopk_histogram: {
    constants: (from) => ({ SCALED: from(0, 1), BINS: 16 }), parameters: (from) => ({ ...selected(from), above: from(30, 31) }),
    count(m, { rows, latents, above }, { SCALED, BINS }) { scored(m, rows!, latents!, SCALED!); each(BINS!, (bin) => m.change('histogram', bin)); if (above! < 31) m.read('selection', 0); },
  },
  batchtopk_digit: {
    constants: () => ({ BINS: 16 }), parameters: (from) => ({ above: from(30, 31), shift: from(0, 1) }),
    count(m, { above, shift }, { BINS }) { each(BINS!, (bin) => m.change('histogram', bin)); each(3, (n) => (above! < 31 ? m.change('selection', n) : m.write('selection', n))); if (shift === 0) m.write('smallest', 0); },
  },
  batchtopk_count: {
    constants: (from) => ({ SCALED: from(0, 1), PARTS: 4 }), parameters: selected,
    count(m, { rows, latents }, { SCALED, PARTS }) { scored(m, rows!, latents!, SCALED!); m.read('selection', 0); each(rows! * PARTS!, (part) => { m.write('counts', 0, part); m.write('counts', 1, part); }); },
  },
  batchtopk_place: {
    constants: (from) => ({ SCALED: from(0, 1), PARTS: 4 }), parameters: (from) => { const p = selected(from); return { ...p, parts: 4 * p['rows']!, room: from(1, 20) }; },
    count(m, { rows, latents, parts, room }, { SCALED }) {
      scored(m, rows!, latents!, SCALED!); each(3, (n) => m.read('selection', n)); each(parts! + 1, (part) => { m.read('starts', 0, part); m.read('starts', 1, part); });
      each(rows! + 1, (b) => m.write('offsets', b)); each(room!, (n) => { m.write('indices', n); m.write('values', n); });
    },
  },
  index_count: {
    constants: (from) => ({ KEEP_ALL: from(0, 1), RAGGED: from(0, 1) }), parameters: (from) => ({ ...kept(from), pairs: 2 * from(1, 12), words: 3 }), bound: ({ latents }) => ({ bitmap: tensor(latents!, undefined, 2 * latents!) }),
    count(m, { pairs, rows, latents }, { KEEP_ALL, RAGGED }) {
      each(pairs!, (pair) => m.read('indices', pair)); offsets(m, rows!, RAGGED!);
      eachOwn(pairs!, latents!, (pair, i) => { if (!KEEP_ALL) m.read('values', pair); m.change('counts', i); m.change('bitmap', pair); });
    },
  },
  index_rank: {
    parameters: (from) => ({ latents: from(1, 9), quads: from(1, 4) }),
    count(m, { latents, quads }) { each(latents!, (i) => { m.read('starts', i); each(quads!, (q) => { [0, 1, 2, 3].forEach((n) => m.read('bitmap', i, q, n)); m.write('ranks', i, q); }); }); },
  },
  index_place: {
    constants: (from) => ({ RAGGED: from(0, 1) }), parameters: (from) => ({ ...kept(from), pairs: 2 * from(1, 12), quads: from(1, 3) }), bound: ({ latents }) => ({ bitmap: tensor(latents!, undefined, 2 * latents!) }),
    count(m, { pairs, rows, latents, quads }, { RAGGED }) {
      each(pairs!, (pair) => m.read('indices', pair)); offsets(m, rows!, RAGGED!);
      let own = 0; // pairs of a latent lie in one quad after the other
      eachOwn(pairs!, latents!, (pair, i) => {
        const quad = Math.floor(own++ / latents!) % quads!;
        m.read('values', pair); m.read('dz', pair); m.read('ranks', i, quad); [0, 1, 2, 3].forEach((n) => m.read('bitmap', i, quad, n));
        [0, 1, 2].forEach((n) => m.write('entries', pair, n));
      });
    },
  },
  index_scan: { parameters: (from) => ({ n: from(1, 30) }), count(m, { n }) { each(n!, (i) => m.read('counts', i)); each(n! + 1, (i) => m.write('starts', i)); } },
  dead_list: { parameters: (from) => ({ latents: from(1, 30) }), count(m, { latents }) { each(latents!, (i) => { m.read('since', i); m.do(1); m.write('list', i + 1); }); m.write('list', 0); m.write('record', 0); } },
  list_range: { parameters: (from) => ({ latents: from(1, 30) }), count: (m, { latents }) => each(latents! + 1, (n) => { m.read('list', n); m.write('part', n); }) },
  latent_counters: { parameters: (from) => ({ latents: from(1, 30) }), count: (m, { latents }) => each(latents!, (i) => { m.read('counts', i); m.change('since', i); m.change('fired', i); }) },
  mean_cutoff: {
    parameters: (from) => ({ rows: from(1, 9), k: from(1, 5) }), bound: () => ({ norms: tensor(1, 7) }),
    count(m, { rows, k }) { each(rows!, (b) => { each(k!, (j) => { m.read('indices', b, j); m.read('values', b, j); m.read('norms', (b * k! + j) % 7); m.do(1); }); m.do(1); }); m.do(1); m.write('cutoff', 0); },
  },
  step_totals: {
    parameters: (from) => ({ rows: from(1, 9), squares: from(1, 20), d_in: from(1, 9), losses: from(0, 3) }),
    count(m, { rows, squares, d_in, losses }) {
      eachOf(rows!, 4, (b, n) => { m.read('stats', b, n); m.do(1); });
      each(squares!, (n) => { m.read('squares', n); m.do(1); });
      each(d_in!, (d) => { m.read('grad', d); m.do(2); });
      each(losses!, (n) => { each(rows!, (b) => { m.read('loss', b, n); m.do(1); }); m.write('record', 7 + n); });
      each(7, (n) => m.write('record', n)); m.read('dead', 0); m.change('flags', 0); m.write('clip', 0); m.do(1 /* root */ + 1 + 1 /* max_norm / (norm + 1e-6) */);
    },
  },
  target_l0: {
    parameters: (from) => ({ rows: from(1, 20) }),
    count(m, { rows }) { each(rows!, (b) => { m.read('l0', b); m.do(1); m.write('loss', b); }); m.do(3 /* mean / goal - 1 */ + 2 /* loss */ + 4 /* slope */); m.write('slope', 0); },
  },
  contrast_codes: {
    ...side, constants: (from) => ({ SCALED: from(0, 1), COSINE: from(0, 1) }),
    count(m, { rows, room }, { SCALED, COSINE }) {
      offsets(m, rows!, 1);
      each(room!, (pair) => { m.read('indices', pair); m.read('values', pair); if (SCALED) { m.read('norms', pair); m.do(1); } if (COSINE) m.do(2); m.do(1); m.write('codes', pair); m.write('by_latent', pair); });
      each(rows!, (b) => { if (COSINE) m.do(1); each(4, (n) => m.write('of_row', b, n)); });
    },
  },
  contrast_scores: {
    ...side,
    count(m, { rows, high, room }) {
      offsets(m, rows!, 1);
      eachOf(rows!, room!, (other, pair) => { m.read('indices', pair); m.read('codes', pair); m.read('others', pair % high!, other); m.do(2); });
      eachOf(rows!, rows!, () => m.do(7)); // two differences, exponentials, products, and a sum
      each(rows!, (b) => { m.read('of_row', b); each(4, (n) => m.write('of_row', b, n)); m.do(2 /* m + log */); });
    },
  },
  contrast_gradients: {
    ...side, constants: (from) => ({ SCALED: from(0, 1), COSINE: from(0, 1) }),
    count(m, { rows, high, room }, { SCALED, COSINE }) {
      offsets(m, rows!, 1);
      eachOf(rows!, room!, (other, pair) => { m.read('others', pair % high!, other); m.do(2 /* score */ + 2 /* gradient */); });
      eachOf(rows!, rows!, () => m.do(2 + 2 + 1 + 1 + 1 + (COSINE ? 2 : 0)));
      each(room!, (pair) => { m.read('indices', pair); m.read('codes', pair); m.change('dz', pair); if (SCALED) { m.read('norms', pair); m.do(1); } m.do(1 /* 1 / length */ + 2); if (COSINE) m.do(3); });
      each(rows!, (b) => { m.read('length', b); m.read('own', b); m.read('other', b); });
    },
  },
  contrast_loss: { parameters: (from) => ({ rows: from(1, 20) }), count: (m, { rows }) => each(rows!, (b) => { m.read('own', b); m.read('diagonal', b); m.read('other', b); m.do(2 + 1 + 1); m.write('loss', b); }) },
  digest: { parameters: (from) => ({ words: from(1, 40) }), count(m, { words }) { each(words!, (n) => m.read('M', n)); each(2, (n) => m.change('digests', n)); } },
  peak_compute: { parameters: (from) => ({ groups: from(1, 3), rounds: from(1, 3) }), count: (m, { groups, rounds }) => each(64 * groups!, (n) => { each(192 * rounds!, () => m.do(2)); m.do(8 /* three vec4s */); each(4, (part) => m.write('sums', n, part)); }) },
  peak_bandwidth: { parameters: (from) => ({ quads: from(1, 20) }), count: (m, { quads }) => each(4 * quads!, (n) => { m.read('b', n); m.read('c', n); m.do(2); m.write('a', n); }) },
  peak_launch: { parameters: () => ({}), count: () => {} },
};

/** Launches with as many slots as ragged pairs need. */
export const adjusted = (p: Numbers, c: Numbers): Numbers => ('k' in p && 'RAGGED' in c ? slots(p, c) : p);
