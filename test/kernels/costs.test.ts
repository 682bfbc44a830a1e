/** What dispatches cost, by formula, against the same equations carried out term by term. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { costedKernels, costOf } from '../../src/kernels/index.ts';
import { RandomStream } from '../../src/random.ts';
import { Meter } from '../support/meter.ts';
import { freshSeed } from '../support/mutate.ts';
import { repo } from '../support/paths.ts';
import { adjusted, productKernels } from './costs-products.ts';
import { rowKernels } from './costs-rows.ts';

const kernels = { ...rowKernels, ...productKernels };
const names = readdirSync(repo('shaders')).filter((file) => file.endsWith('.wgsl')).map((file) => file.slice(0, -5)).sort();
const seed = freshSeed('costs');

test('every shader has a cost, and every cost is of a shader and is counted here', () => {
  assert.deepEqual([...costedKernels].sort(), names);
  assert.deepEqual(Object.keys(kernels).sort(), names);
});

describe('FLOPs and bytes are those of the equations carried out', () => {
  for (const [n, [name, { constants = () => ({}), parameters, bound = () => ({}), count }]] of Object.entries(kernels).entries()) {
    test(name, () => {
      const random = new RandomStream(seed, 1950, n);
      const from = (low: number, high: number): number => low + random.below(high - low + 1);
      for (let draw = 0; draw < 12; draw++) {
        const c = constants(from), p = adjusted(parameters(from), c);
        const meter = new Meter();
        count(meter, p, c);
        const cost = costOf(name, { constants: c, parameters: p, bound: bound(p, c) });
        assert.deepEqual(cost, { flops: meter.flops, bytes: meter.bytes }, `${JSON.stringify({ ...c, ...p })} with seed ${seed}`);
      }
    });
  }
});

test('constants that a launcher leaves alone are those of the shader, and pieces cost their share', () => {
  const parameters = { rows: 3, latents: 5, stride: 8, first_latent: 0 };
  assert.deepEqual(costOf('row_norms', { constants: {}, parameters, bound: {} }), { flops: 5 * 17, bytes: 4 * 5 * 9 });
  assert.deepEqual(costOf('row_norms', { constants: { SQUARED: 1 }, parameters, bound: {} }), { flops: 5 * 16, bytes: 4 * 5 * 9 });
  assert.deepEqual(costOf('row_norms', { constants: {}, parameters, bound: {}, share: 1 / 4 }), { flops: 5 * 17 / 4, bytes: 5 * 9 }, 'a piece');
  assert.equal(costOf('somebody else\'s', { constants: {}, parameters, bound: {} }), undefined);
});
