import { decodeElements } from '../../src/formats/dtype.ts';
import { unpackRows } from '../../src/kernels/index.ts';
import { bfloat16, float16 } from '../oracle/halves.ts';
import type { Case } from '../support/case.ts';
import { ok } from '../support/check.ts';
import { drawn, fuzzed, run, sameBits } from '../support/kernels.ts';

const formats = { f16: { oracle: float16, name: 'F16' }, bf16: { oracle: bfloat16, name: 'BF16' } } as const;

/** Patterns two to a word, behind them what is none of theirs. */
function packed(patterns: Uint16Array): Uint32Array {
  const padded = Uint16Array.from({ length: patterns.length + (patterns.length % 2) }, (_, at) => patterns[at] ?? 0x3c01);
  return new Uint32Array(padded.buffer);
}

export const cases: Case[] = [
  fuzzed('frames of 16 bits become the float32 that they are, every pattern there is: subnormal, infinite and NaN', (['f16', 'bf16'] as const).flatMap((format) => [
    { format, rows: 512, columns: 128, all: true }, { format, rows: 1, columns: 1 }, { format, rows: 3, columns: 5 }, { format, rows: 7, columns: 66 },
    ...drawn(2, (from) => ({ format, rows: from(1, 40), columns: from(1, 90) })),
  ]), async (gpu, random, { format, rows, columns, all = false }: { format: 'f16' | 'bf16'; rows: number; columns: number; all?: boolean }) => {
    const patterns = all ? Uint16Array.from({ length: 2 ** 16 }, (_, at) => at) : Uint16Array.from({ length: rows * columns }, () => random.below(2 ** 16));
    const found = await run(gpu, [], (bench) => {
      const tensors = { packed: bench.tensor('packed', Math.ceil(patterns.length / 2), 1, { data: packed(patterns), stride: 1 }), frames: bench.tensor('frames', rows, columns) };
      return { tensors, record: (rec) => unpackRows(rec, tensors, rows, format) };
    });
    const { oracle, name } = formats[format];
    const host = new Float32Array(patterns.length);
    decodeElements(new Uint8Array(patterns.buffer), name, host, 0);
    sameBits(found.integers('frames'), new Uint32Array(host.buffer), 'the host\'s own conversion');
    const words = found.integers('frames'), numbers = new Float32Array(words.buffer);
    patterns.forEach((pattern, at) => ok(Object.is(numbers[at], oracle(pattern)), `pattern 0x${pattern.toString(16)} became ${numbers[at]}, not ${oracle(pattern)}`));
  }),
];
