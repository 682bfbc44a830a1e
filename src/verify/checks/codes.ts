/** Codes that are matrices, with their penalties; attention and contrast. These have the exponentials. */
import {
  attend, contrast, gatedActivate, gatedLatents, gatedRows, gatedTraits, jumpreluLatents, jumpreluRows, jumpreluTraits, reluLatents, reluRows, targetL0,
} from '../../kernels/index.ts';
import { type Bench, type Check, dIn, dSae, rows } from '../bench.ts';
import { add, divide, exponential, handedOver, logarithm, multiply, type Rounded, squareRoot, subtract, sum, sumOfSquares } from '../rounding.ts';

const latents = Array.from({ length: dSae }, (_, i) => i), batch = Array.from({ length: rows }, (_, row) => row);
const exact = (value: number): Rounded => ({ value, error: 0 });
const chunk = { firstRow: 0, rows, batch: rows };
/** Per row and latent. */
const codesOf = (of: (row: number, latent: number) => Rounded): Rounded[] => batch.flatMap((row) => latents.map((i) => of(row, i)));
/** Per latent, a sum over the rows. */
const overRows = (of: (row: number, latent: number) => Rounded | undefined): Rounded[] => latents.map((i) => sum(batch.map((row) => of(row, i)).filter((term) => term !== undefined)));
const zeros = (length: number): Rounded[] => Array.from({ length }, () => exact(0));
const flags = (bench: Bench) => bench.made('flags', 1, 1, 'u32');

export const codes: Check[] = [
  {
    family: 'relu', name: 'relu codes, their penalty and its gradients', kind: 'rounded',
    run(bench) {
      const given = bench.numbers(rows * dSae), n = bench.numbers(dSae, 0.5, 2), d = bench.numbers(rows * dSae), penalty = { p: 2, coefficient: 0.3, column: 0 };
      const h = bench.given('h', rows, dSae, given), norms = bench.given('norms', 1, dSae, n), slopes = bench.made('slopes', rows, 1), lossRows = bench.made('losses', rows, 1);
      const sums = bench.made('sums', 1, 3 * dSae), counts = bench.made('counts', 1, dSae, 'u32');
      bench.record((rec) => {
        reluRows(rec, { h, norms, active: bench.made('active', rows, 1), slopes, lossRows, flags: flags(bench) }, chunk, penalty);
        reluLatents(rec, { df: bench.given('df', rows, dSae, d), f: h, slopes, norms, sums, counts }, chunk, penalty);
      });
      const f = (row: number, i: number): number => Math.max(given[row * dSae + i]!, 0);
      const size = batch.map((row) => squareRoot(sumOfSquares(latents.map((i) => multiply(f(row, i), n[i]!)))));
      const slope = size.map((value) => multiply(divide(handedOver(0.3), rows), divide(1, value)));
      const dw = (row: number, i: number): Rounded => multiply(slope[row]!, multiply(f(row, i), n[i]!));
      const dh = (row: number, i: number): Rounded => (f(row, i) > 0 ? add(d[row * dSae + i]!, multiply(dw(row, i), n[i]!)) : exact(0));
      return {
        losses: { tensor: lossRows, expected: size.map((value) => multiply(handedOver(0.3), value)) }, slopes: { tensor: slopes, expected: slope }, dh: { tensor: h, expected: codesOf(dh) },
        sums: { tensor: sums, expected: [...overRows(dh), ...zeros(dSae), ...overRows((row, i) => multiply(dw(row, i), f(row, i)))] },
      };
    },
  },
  {
    family: 'jumprelu', name: 'JumpReLU thresholds', kind: 'rounded',
    run(bench) {
      const logs = bench.numbers(dSae), n = bench.numbers(dSae, 0.5, 2), active = bench.wholes(rows, 20).map(Math.abs), dead = [3, 8, 21], coefficient = 0.3, goal = 7;
      const traits = bench.made('traits', 1, 4 * dSae), slope = bench.made('slope', 1, 1), lossRows = bench.made('losses', rows, 1);
      bench.record((rec) => {
        jumpreluTraits(rec, { threshold: bench.given('log threshold', 1, dSae, logs), norms: bench.given('norms', 1, dSae, n), dead: bench.list(dead), traits }, { log: true, lambda: 0.25 });
        targetL0(rec, { active: bench.given('active', rows, 1, active), slope, lossRows }, rows, { goal, coefficient });
      });
      const excess = subtract(divide(divide(sum([...active]), rows), goal), 1);
      const loss = multiply(multiply(handedOver(coefficient), excess), excess);
      return {
        traits: { tensor: traits, expected: latents.flatMap((i) => [exponential(logs[i]!), exact(n[i]!), exact(dead.includes(i) ? 0.25 : 0), exponential(logs[i]!)]) },
        losses: { tensor: lossRows, expected: batch.map(() => loss) },
        slope: { tensor: slope, expected: [divide(multiply(multiply(2, handedOver(coefficient)), excess), multiply(goal, rows))] },
      };
    },
  },
  {
    family: 'jumprelu', name: 'JumpReLU codes, their penalties and gradients', kind: 'rounded',
    run(bench) {
      const given = bench.numbers(rows * dSae), d = bench.numbers(rows * dSae), n = bench.numbers(dSae, 0.5, 2), theta = bench.numbers(dSae, 0, 1), steepness = 4, bandwidth = 0.5;
      const options = { sparsity: 'tanh', preAct: true, coefficient: 0.3, tanhScale: steepness, bandwidth, toInput: true } as const;
      const lambda = (i: number): number => (i % 7 === 3 ? 0.25 : 0);
      const traits = bench.given('traits', 1, 4 * dSae, Float32Array.from(latents.flatMap((i) => [theta[i]!, n[i]!, lambda(i), 1])));
      const h = bench.given('h', rows, dSae, given), f = bench.made('f', rows, dSae), df = bench.given('df', rows, dSae, d), lossRows = bench.made('losses', rows, 2);
      const out = { sums: bench.made('sums', 1, 3 * dSae), gradThreshold: bench.made('grad threshold', 1, dSae), counts: bench.made('counts', 1, dSae, 'u32') };
      bench.record((rec) => {
        jumpreluRows(rec, { h, traits, f, active: bench.made('active', rows, 1), lossRows, flags: flags(bench) }, chunk, options);
        jumpreluLatents(rec, { h, traits, slope: bench.made('slope', 1, 1), df, ...out }, chunk, options);
      });
      const value = (row: number, i: number): number => given[row * dSae + i]!;
      const code = (row: number, i: number): number => (value(row, i) > theta[i]! ? value(row, i) : 0);
      const share = divide(handedOver(0.3), rows), rise = (i: number): Rounded => divide(lambda(i), rows);
      const fading = (row: number, i: number): Rounded => exponential(multiply(multiply(-2 * steepness, code(row, i)), n[i]!));
      const steep = (row: number, i: number): Rounded => {
        const e = fading(row, i), one = add(1, e);
        return divide(multiply(multiply(multiply(share, steepness), 4), e), multiply(one, one));
      };
      const slope = (row: number, i: number): Rounded => add(d[row * dSae + i]!, multiply(steep(row, i), n[i]!));
      const push = (row: number, i: number): Rounded => (Math.abs(value(row, i) - theta[i]!) < bandwidth / 2 ? multiply(1 / bandwidth, multiply(theta[i]!, slope(row, i))) : exact(0));
      const isBelow = (row: number, i: number): boolean => theta[i]! > value(row, i);
      const pull = (row: number, i: number): Rounded => (isBelow(row, i) ? multiply(rise(i), n[i]!) : exact(0));
      const dh = (row: number, i: number): Rounded => subtract(add(code(row, i) === 0 ? exact(0) : slope(row, i), push(row, i)), pull(row, i));
      const penalty = (row: number): Rounded[] => [
        multiply(handedOver(0.3), sum(latents.map((i) => divide(subtract(1, fading(row, i)), add(1, fading(row, i)))))),
        sum(latents.map((i) => multiply(multiply(lambda(i), Math.max(theta[i]! - value(row, i), 0)), n[i]!))),
      ];
      const stretch = (row: number, i: number): Rounded => add(multiply(steep(row, i), code(row, i)), isBelow(row, i) ? multiply(rise(i), subtract(theta[i]!, value(row, i))) : exact(0));
      return {
        f: { tensor: f, expected: codesOf((row, i) => exact(code(row, i))) }, losses: { tensor: lossRows, expected: batch.flatMap(penalty) }, dh: { tensor: df, expected: codesOf(dh) },
        sums: { tensor: out.sums, expected: [...overRows(dh), ...zeros(dSae), ...overRows(stretch)] },
        'grad threshold': { tensor: out.gradThreshold, expected: overRows((row, i) => subtract(pull(row, i), push(row, i))) },
      };
    },
  },
  {
    family: 'gated', name: 'gated codes and their gradients', kind: 'rounded',
    run(bench) {
      const pi = bench.numbers(rows * dSae), d = bench.numbers(rows * dSae), [r, bMag, bGate] = [bench.numbers(dSae), bench.numbers(dSae), bench.numbers(dSae)];
      const vector = (label: string, data: Float32Array) => bench.given(label, 1, dSae, data);
      const gates = bench.given('gates', rows, dSae, pi), h = bench.given('h', rows, dSae, pi), df = bench.given('df', rows, dSae, d), f = bench.made('f', rows, dSae), traits = bench.made('traits', 1, 4 * dSae);
      const out = { gradBMag: bench.made('grad b_mag', 1, dSae), gradRMag: bench.made('grad r_mag', 1, dSae), pulls: bench.made('pulls', 1, dSae), counts: bench.made('counts', 1, dSae, 'u32') };
      bench.record((rec) => {
        gatedTraits(rec, { r_mag: vector('r_mag', r), b_mag: vector('b_mag', bMag), b_gate: vector('b_gate', bGate), traits });
        gatedRows(rec, { gates, traits, f, active: bench.made('active', rows, 1), flags: flags(bench) }, chunk);
        gatedLatents(rec, { gates, traits, df, ...out }, chunk);
        gatedActivate(rec, { traits, h, flags: flags(bench) }, rows);
      });
      const gain = [...r].map((value) => exponential(value));
      const product = (row: number, i: number): Rounded => subtract(pi[row * dSae + i]!, bGate[i]!);
      const magnitude = (row: number, i: number): Rounded => add(multiply(product(row, i), gain[i]!), bMag[i]!);
      const fires = (row: number, i: number): boolean => pi[row * dSae + i]! > 0 && magnitude(row, i).value > 0;
      const dh = (row: number, i: number): Rounded => (fires(row, i) ? multiply(d[row * dSae + i]!, gain[i]!) : exact(0));
      const f64 = codesOf((row, i) => (fires(row, i) ? magnitude(row, i) : exact(0)));
      return {
        traits: { tensor: traits, expected: latents.flatMap((i) => [gain[i]!, exact(bMag[i]!), exact(bGate[i]!), exact(0)]) }, f: { tensor: f, expected: f64 }, 'codes in place': { tensor: h, expected: f64 },
        dh: { tensor: df, expected: codesOf(dh) }, 'grad b_mag': { tensor: out.gradBMag, expected: overRows((row, i) => (fires(row, i) ? exact(d[row * dSae + i]!) : undefined)) },
        'grad r_mag': { tensor: out.gradRMag, expected: overRows((row, i) => multiply(dh(row, i), product(row, i))) }, pulls: { tensor: out.pulls, expected: overRows(dh) },
      };
    },
  },
  {
    family: 'attention', name: 'attention of a clip', kind: 'rounded',
    run(bench) {
      const heads = 2, width = dIn / heads, perHead = dSae / heads, scale = handedOver(1 / Math.sqrt(width));
      const q = bench.numbers(rows * dIn), keys = bench.numbers(rows * dIn), v = bench.numbers(rows * dSae), keyBias = bench.numbers(dIn), valueBias = bench.numbers(dSae), o = bench.made('o', rows, dSae);
      const tensors = {
        q: bench.given('q', rows, dIn, q), k: bench.given('k', rows, dIn, keys), v: bench.given('v', rows, dSae, v), keyBias: bench.given('key bias', 1, dIn, keyBias),
        valueBias: bench.given('value bias', 1, dSae, valueBias), o, flags: flags(bench),
        weights: bench.made('weights', rows * heads, rows), running: bench.made('running', rows, 2 * heads), carry: bench.made('carry', rows, heads),
      };
      bench.record((rec) => attend(rec, tensors, rows, { heads, keys: rows, first: true, last: true, own: true }));
      const product = (row: number, head: number, other: Float32Array, at: number): Rounded => {
        const terms = Array.from({ length: width }, (_, d) => multiply(q[row * dIn + head * width + d]!, other[at * dIn + head * width + d]!));
        return multiply(sum(terms), scale);
      };
      // The largest score cancels: whatever it is taken for, weights and their sum have the same factor.
      const attended = batch.flatMap((row) => Array.from({ length: heads }, (_, head) => {
        const scores = [product(row, head, keyBias, 0), ...batch.slice(0, row).map((key) => product(row, head, keys, key))];
        const largest = Math.max(...scores.map(({ value }) => value));
        const weights = scores.map((score) => exponential(subtract(score, largest)));
        const total = sum(weights);
        return Array.from({ length: perHead }, (_, n) => {
          const latent = head * perHead + n;
          return divide(sum(weights.map((weight, at) => multiply(weight, at === 0 ? valueBias[latent]! : v[(at - 1) * dSae + latent]!))), total);
        });
      }).flat());
      return { o: { tensor: o, expected: attended } };
    },
  },
  {
    family: 'contrast', name: 'contrast of neighbours', kind: 'rounded',
    run(bench) {
      const high = 24, room = 3 * rows, coefficient = 0.4, n = bench.numbers(dSae, 0.5, 2), offsets = Uint32Array.from({ length: rows + 1 }, (_, row) => 3 * row);
      const side = (name: string) => {
        const values = bench.numbers(room, 2 ** -16, 1), dz = bench.numbers(room);
        // Latents below `high` but for the last of each row.
        const indices = Uint32Array.from({ length: room }, (_, slot) => (slot % 3 === 2 ? high + slot % 5 : (slot % 3) * 12 + (slot * 5) % 12));
        const pairs = {
          indices: bench.given(`${name} indices`, 1, room, indices), values: bench.given(`${name} values`, 1, room, values), offsets: bench.given('offsets', 1, rows + 1, offsets), dz: bench.given(`${name} dz`, 1, room, dz),
        };
        return { values, dz, indices, pairs, codes: bench.made('codes', 1, room), byLatent: bench.made('codes by latent', high, rows), ofRow: bench.made('of row', rows, 4) };
      };
      const sides = [side('one'), side('other')] as const, lossRows = bench.made('losses', rows, 1);
      const tensors = { sides, norms: bench.given('norms', 1, dSae, n), lossRows, flags: flags(bench) };
      bench.record((rec) => contrast(rec, tensors, rows, { similarity: 'cosine', coefficient, column: 0 }));

      const slotsOf = (row: number): number[] => [3 * row, 3 * row + 1];
      const compared = sides.map(({ values, indices }) => {
        const f = batch.map((row) => slotsOf(row).map((slot) => multiply(values[slot]!, n[indices[slot]!]!)));
        const lengths = f.map((row) => squareRoot(sumOfSquares(row)));
        return { lengths, codes: f.map((row, b) => row.map((value) => divide(value, lengths[b]!))), codeAt: (b: number, latent: number) => {
          const slot = slotsOf(b).findIndex((at) => indices[at] === latent);
          return slot < 0 ? exact(0) : divide(f[b]![slot]!, lengths[b]!);
        } };
      });
      const losses: Rounded[][] = [];
      const gradients = sides.map((own, s) => {
        const mine = compared[s]!, theirs = compared[1 - s]!;
        const score = (a: typeof mine, ofA: typeof own, b: typeof mine, row: number, other: number) => sum(slotsOf(row).map((slot, j) => multiply(a.codes[row]![j]!, b.codeAt(other, ofA.indices[slot]!))));
        const scores = batch.map((row) => batch.map((other) => score(mine, own, theirs, row, other)));
        const backward = batch.map((row) => batch.map((other) => score(theirs, sides[1 - s]!, mine, row, other)));
        const [logs, otherLogs] = [scores.map(logOfSum), backward.map(logOfSum)];
        if (s === 0) losses.push(batch.map((row) => multiply(handedOver(coefficient), add(subtract(logs[row]!, scores[row]![row]!), subtract(otherLogs[row]!, backward[row]![row]!)))));
        return batch.flatMap((row) => {
          const ds = batch.map((other) => multiply(handedOver(coefficient / rows), subtract(add(exponential(subtract(scores[row]![other]!, logs[row]!)), exponential(subtract(scores[row]![other]!, otherLogs[other]!))), other === row ? 2 : 0)));
          const along = sum(ds.map((slope, other) => multiply(slope, scores[row]![other]!)));
          const kept = slotsOf(row).map((slot, j) => {
            const latent = own.indices[slot]!, factor = multiply(divide(1, mine.lengths[row]!), n[latent]!);
            const pulled = sum(ds.map((slope, other) => multiply(slope, theirs.codeAt(other, latent))));
            return subtract(add(own.dz[slot]!, multiply(factor, pulled)), multiply(multiply(factor, mine.codes[row]![j]!), along));
          });
          return [...kept, exact(own.dz[3 * row + 2]!)];
        });
      });
      return { losses: { tensor: lossRows, expected: losses[0]! }, one: { tensor: sides[0].pairs.dz, expected: gradients[0]! }, other: { tensor: sides[1].pairs.dz, expected: gradients[1]! } };
    },
  },
];

/** log sum exp of scores that were joined one by one: every join multiplies by one more exponential of a number of size 2 at most. */
function logOfSum(scores: readonly Rounded[]): Rounded {
  const largest = Math.max(...scores.map(({ value }) => value));
  const join: Rounded = { value: 1, error: 7 * 2 ** -23 };
  const terms = scores.map((score) => scores.reduce((term) => multiply(term, join), exponential(subtract(score, largest))));
  return add(largest, logarithm(sum(terms)));
}
