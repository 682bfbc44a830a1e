/** What `npm run bench:peers` can be asked for. */
import { parseArgs } from 'node:util';
import { CochleaError } from '../../src/errors.ts';
import type { Shape } from './gemm.ts';

export const usage = `usage: npm run bench:peers -- [options]
  --sizes NAME    standard (default), or small for a quick look
  --parts LIST    of gemm, step, torch (default: all)
  --rows N        most rows of a product or a batch (default: what the adapter is fit for, at most 4096)
  --turns N       turns of each at least (default: 3)
  --json          one JSON object on stdout
`;

export interface StepShape {
  dIn: number;
  dSae: number;
  k: number;
  batch: number;
}

export const sizes: Record<'standard' | 'small', { gemm: Shape[]; step: StepShape[] }> = {
  standard: {
    gemm: [{ m: 4096, k: 384, n: 3072 }, { m: 4096, k: 768, n: 24_576 }],
    step: [{ dIn: 384, dSae: 3072, k: 32, batch: 4096 }, { dIn: 768, dSae: 24_576, k: 32, batch: 4096 }],
  },
  small: { gemm: [{ m: 512, k: 288, n: 1152 }], step: [{ dIn: 288, dSae: 1152, k: 32, batch: 256 }] },
};

const parts = ['gemm', 'step', 'torch'] as const;

export interface Options {
  sizes: keyof typeof sizes;
  parts: (typeof parts)[number][];
  mostRows: number;
  turns: number;
  /** Seconds after which no turn begins, of each comparison. */
  budget: number;
  json: boolean;
  help: boolean;
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args, options: {
        sizes: { type: 'string', default: 'standard' }, parts: { type: 'string', default: parts.join(',') }, rows: { type: 'string' }, turns: { type: 'string', default: '3' },
        json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new CochleaError('usage', (error as Error).message, usage);
  }
}

function count(name: string, value: string): number {
  if (!/^[1-9]\d*$/.test(value)) throw new CochleaError('usage', `--${name} is ${value}`, 'it must be a positive whole number');
  return Number(value);
}

/** Throws `usage`. */
export function readOptions(args: string[]): Options {
  const values = parse(args);
  if (!Object.hasOwn(sizes, values.sizes)) throw new CochleaError('usage', `--sizes is ${values.sizes}`, `it must be one of ${Object.keys(sizes).join(', ')}`);
  const chosen = values.parts.split(',').map((name) => {
    const part = parts.find((one) => one === name);
    if (!part) throw new CochleaError('usage', `--parts has ${name || 'an empty name'}`, `there are ${parts.join(', ')}`);
    return part;
  });
  return {
    sizes: values.sizes as Options['sizes'], parts: chosen, mostRows: values.rows === undefined ? 4096 : count('rows', values.rows), turns: count('turns', values.turns),
    budget: values.sizes === 'small' ? 5 : 20, json: values.json, help: values.help,
  };
}
