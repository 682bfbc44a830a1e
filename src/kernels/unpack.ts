import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectShape, groupsFor } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/**
 * frames[b, :] = the numbers whose patterns of 16 bits are in `packed`, exactly (see unpack_rows.wgsl), for `rows` rows. frames [.., d] float32;
 * packed [words, 1], the patterns of one row after the other without padding, two to a word.
 */
export function unpackRows(rec: Recorder, tensors: { packed: Tensor; frames: Tensor }, rows: number, format: 'f16' | 'bf16'): void {
  const { packed, frames } = tensors;
  expectShape('unpack', frames, rows, frames.columns);
  expectShape('unpack', packed, Math.ceil((rows * frames.columns) / 2), 1);
  const { columns, stride } = frames;
  const kernel = rec.gpu.kernel({ name: 'unpack_rows', text: shaders.unpack_rows.text }, { BFLOAT: format === 'bf16' ? 1 : 0, ALIGNED: columns === stride ? 1 : 0 });
  const quads = (rows * stride) / 4;
  rec.dispatch(kernel, tensors, { quads, columns, stride }, groupsFor(quads, 64 * 8));
}
