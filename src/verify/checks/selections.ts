/** Integer work, which is the same everywhere: random numbers, selections, counts, lists. And sums of whole numbers, which no order changes. */
import {
  activate, batchTopk, countFirings, groupmaxRows, histogramBins, invertPairs, listDead, listRange, mergePicks, partsOfRow, pursue, pursuitGradients, randomUniform, recordFloats,
  roundBias, topkRows, unpackRows,
} from '../../kernels/index.ts';
import { type Bench, type Check, dIn, dSae, k, rows } from '../bench.ts';

/** Norms that multiply without rounding. */
const powersOfTwo = (bench: Bench): Float32Array => bench.wholes(dSae, 2).map((exponent) => 2 ** exponent);

/** Pre-activations of which some are equal, also across rows. */
function scores(bench: Bench): Float32Array {
  return bench.wholes(rows * dSae, 40).map((value) => value / 8);
}

function selected(bench: Bench) {
  return { indices: bench.made('indices', rows, k, 'u32'), values: bench.made('values', rows, k), flags: bench.made('flags', 1, 1, 'u32') };
}

/** `listed`: from a list of latents. */
function topk(name: string, listed: boolean): Check {
  return {
    family: 'topk', name, kind: 'integer',
    run(bench) {
      const { flags, ...kept } = selected(bench);
      const tensors = { h: bench.given('h', rows, dSae, scores(bench)), flags, ...kept };
      const norms = bench.given('norms', 1, dSae, powersOfTwo(bench));
      bench.record((rec) => topkRows(rec, { ...tensors, norms, ...(listed ? { list: bench.list([1, 4, 5, 11, 30, 47]) } : {}) }, 0, rows, k));
      return { indices: { tensor: kept.indices }, values: { tensor: kept.values } };
    },
  };
}

export const selections: Check[] = [
  {
    family: 'latents', name: 'random numbers', kind: 'exact',
    run(bench) {
      const W = bench.made('W', dSae, dIn);
      bench.record((rec) => randomUniform(rec, W, { seed: 2 ** 40 + 5, stream: 1, substream: 3, bound: 1 }));
      return { W: { tensor: W } };
    },
  },
  topk('selection of a row', false),
  topk('selection of a row from a list', true),
  {
    family: 'topk', name: 'selection of a group', kind: 'integer',
    run(bench) {
      const tensors = { h: bench.given('h', rows, dSae, scores(bench)), ...selected(bench) };
      bench.record((rec) => groupmaxRows(rec, tensors, 0, rows, k));
      return { indices: { tensor: tensors.indices }, values: { tensor: tensors.values } };
    },
  },
  {
    family: 'batchtopk', name: 'selection of a batch', kind: 'integer',
    run(bench) {
      const room = rows * k;
      const out = {
        offsets: bench.made('offsets', 1, rows + 1, 'u32'), indices: bench.made('indices', 1, room, 'u32'), values: bench.made('values', 1, room), smallest: bench.made('smallest', 1, 1),
      };
      const scratch = {
        flags: bench.made('flags', 1, 1, 'u32'), histogram: bench.made('histogram', 1, histogramBins, 'u32'), selection: bench.made('selection', 1, 3, 'u32'),
        counts: bench.made('counts', 1, 2 * partsOfRow * rows, 'u32'), starts: bench.made('starts', 1, 2 * partsOfRow * rows + 1, 'u32'),
      };
      const h = [bench.given('h', rows, dSae, scores(bench))], norms = bench.given('norms', 1, dSae, powersOfTwo(bench));
      bench.record((rec) => batchTopk(rec, { h, norms, ...out, ...scratch }, rows, room));
      return Object.fromEntries(Object.entries(out).map(([name, tensor]) => [name, { tensor }]));
    },
  },
  {
    family: 'gradients', name: 'inverse index', kind: 'integer',
    run(bench) {
      const { indices, values } = bench.pairs();
      const kept = { indices: bench.given('indices', rows, k, indices), values: bench.given('values', rows, k, values), dz: bench.given('dz', rows, k, bench.numbers(rows * k)) };
      const index = {
        counts: bench.made('counts', 1, dSae, 'u32'), starts: bench.made('starts', 1, dSae + 1, 'u32'), entries: bench.made('entries', rows * k, 3, 'u32'),
        bitmap: bench.made('bitmap', dSae, 4 * Math.ceil(rows / 128), 'u32'), ranks: bench.made('ranks', dSae, Math.ceil(rows / 128), 'u32'),
      };
      bench.record((rec) => invertPairs(rec, kept, index, rows, false));
      return { counts: { tensor: index.counts }, starts: { tensor: index.starts }, entries: { tensor: index.entries } };
    },
  },
  {
    family: 'latents', name: 'firings and the dead', kind: 'integer',
    run(bench) {
      const some = (most: number): Uint32Array => Uint32Array.from(bench.wholes(dSae, most), Math.abs);
      const counts = bench.given('counts', 1, dSae, some(2)), since = bench.given('since', 1, dSae, some(9)), fired = bench.given('fired', 1, dSae, some(5));
      const list = bench.made('list', 1, dSae + 1, 'u32'), record = bench.made('record', 1, recordFloats);
      bench.record((rec) => {
        countFirings(rec, { counts, since, fired });
        listDead(rec, { since, list, record }, 4, 0);
      });
      return { since: { tensor: since }, fired: { tensor: fired }, list: { tensor: list }, record: { tensor: record } };
    },
  },
  {
    family: 'levels', name: 'part of a list', kind: 'integer',
    run(bench) {
      const list = bench.list([0, 3, 17, 18, 19, 33, 46]), part = bench.made('part', 1, dSae + 1, 'u32');
      bench.record((rec) => listRange(rec, { list, part }, { from: 4, end: 34 }));
      return { part: { tensor: part } };
    },
  },
  {
    family: 'rows', name: 'thresholds', kind: 'integer',
    run(bench) {
      const h = bench.given('h', rows, dSae, scores(bench)), threshold = bench.given('threshold', 1, dSae, bench.wholes(dSae, 8).map((value) => value / 8));
      bench.record((rec) => activate(rec, { h, threshold, flags: bench.made('flags', 1, 1, 'u32') }, rows));
      return { h: { tensor: h } };
    },
  },
  {
    family: 'unpack', name: 'numbers of 16 bits', kind: 'integer',
    run(bench) {
      const packed = bench.given('packed', (rows * dIn) / 2, 1, new Uint32Array(bench.numbers((rows * dIn) / 2).buffer)), frames = bench.made('frames', rows, dIn);
      bench.record((rec) => unpackRows(rec, { packed, frames }, rows, 'f16'));
      return { frames: { tensor: frames } };
    },
  },
  {
    family: 'rows', name: 'rounding to bfloat16', kind: 'exact',
    run(bench) {
      const a = bench.given('a', rows, dIn, bench.numbers(rows * dIn)), bias = bench.given('bias', 1, dIn, bench.numbers(dIn));
      bench.record((rec) => roundBias(rec, { a, bias }, rows));
      return { a: { tensor: a } };
    },
  },
  {
    family: 'pursuit', name: 'matching pursuit of whole numbers', kind: 'exact',
    run(bench) {
      const picks = 3, whole = bench.wholes(dSae * dIn, 1);
      const W_dec = bench.given('W_dec', dSae, dIn, whole), residual = bench.given('residual', rows, dIn, bench.wholes(rows * dIn, 6)), q = bench.given('q', rows, dIn, bench.wholes(rows * dIn, 3));
      const chosen = { indices: bench.made('picks', rows, picks, 'u32'), values: bench.made('pick values', rows, picks), firstSlots: bench.made('first slots', rows, picks, 'u32') };
      const kept = { indices: bench.made('indices', rows, picks, 'u32'), values: bench.made('values', rows, picks), dz: bench.made('slots', rows, picks) };
      const scratch = { h: bench.made('h', rows, dSae), noBias: bench.made('no bias', 1, dSae), done: bench.made('done', 1, rows, 'u32'), flags: bench.made('flags', 1, 1, 'u32') };
      const shares = bench.made('shares', rows * picks, dIn);
      bench.record((rec) => {
        pursue(rec, { W_dec, residual, ...scratch, ...chosen }, 0, rows, { residualThreshold: 1.7, stopOnDuplicateSupport: true });
        mergePicks(rec, { ...chosen, kept }, rows);
        pursuitGradients(rec, { ...chosen, W_dec, q, residual, shares }, 0, rows);
      });
      return { picks: { tensor: chosen.indices }, indices: { tensor: kept.indices }, values: { tensor: kept.values }, q: { tensor: q }, shares: { tensor: shares } };
    },
  },
];
