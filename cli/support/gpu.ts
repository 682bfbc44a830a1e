import { ensureAdapter } from '../../src/runtime/adapters.ts';
import { Gpu } from '../../src/index.ts';
import type { Output } from './console.ts';

/** Chooses the adapter, says in one line which, and opens it. */
export async function openGpu(output: Output): Promise<Gpu> {
  output.notice((await ensureAdapter()).line);
  return Gpu.open();
}
