import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectSameShards, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/**
 * Takes out of each row of a gradient what points along the row of its weights, and out of the squared gradient norms its square
 * (see project_rows.wgsl). W and gradient [rows, columns], sharded alike; squares: of row i in element firstSquare + i.
 */
export function projectRows(rec: Recorder, tensors: { W: Tensor; gradient: Tensor; squares: Tensor }, firstSquare: number): void {
  const { W, gradient, squares } = tensors;
  expectSameShards('project', W, gradient);
  const kernel = rec.gpu.kernel({ name: 'project_rows', text: shaders.project_rows.text }, { WG: rowWorkgroup(rec.gpu) });
  W.shards.forEach((shard, n) => {
    rec.dispatch(kernel, { W: shard, grad: gradient.shards[n]!, squares }, { rows: shard.rows, stride: W.stride, squares_at: firstSquare + shard.first }, shard.rows);
  });
}
