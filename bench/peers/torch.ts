/** The same TopK step by torch on CUDA, where the machine has both. */
import { join } from 'node:path';
import { runtime } from '../../src/runtime/index.ts';
import { peersFolder } from './install.ts';
import type { StepShape } from './options.ts';

/** Of one way of multiplying. */
export interface TorchSpeed {
  rowsPerSecond: number;
  secondsPerStep: { median: number; least: number; most: number };
  losses: number[];
}

export interface TorchResult {
  version: string;
  device: string;
  step: (StepShape & { float32: TorchSpeed; tf32: TorchSpeed })[];
}

const isSpeed = (value: unknown): value is TorchSpeed => Number.isFinite((value as TorchSpeed | undefined)?.rowsPerSecond);

/** What torch_step.py said. The reason instead of a result where it did not get to one: the last line that it wrote. */
export function readTorch({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }): TorchResult | { absent: string } {
  const last = (text: string): string => text.trim().split('\n').at(-1)!.trim();
  if (code !== 0) return { absent: last(stderr) || `python3 ended with code ${code}` };
  try {
    const result = JSON.parse(last(stdout)) as TorchResult;
    if (Array.isArray(result.step) && result.step.every(({ float32, tf32 }) => isSpeed(float32) && isSpeed(tf32))) return result;
  } catch {
    // told below
  }
  return { absent: `torch_step.py wrote no result: ${last(stdout) || 'nothing'}` };
}

export async function measureTorch(shapes: readonly StepShape[]): Promise<TorchResult | { absent: string }> {
  const program = join(peersFolder(), 'torch_step.py');
  return readTorch(await runtime.run('python3', [program, JSON.stringify(shapes)]).catch((error: Error) => ({ code: 1, stdout: '', stderr: error.message })));
}
