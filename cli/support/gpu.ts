import type { Command } from 'commander';
import { ensureAdapter } from '../../src/runtime/adapters.ts';
import { CochleaError, Gpu } from '../../src/index.ts';
import type { Output } from './console.ts';

/** Chooses the adapter, says in one line which, and opens it. */
export async function openGpu(output: Output): Promise<Gpu> {
  output.notice((await ensureAdapter()).line);
  return Gpu.open();
}

/** Adds `--kernel-variant`, whose value goes to `pinVariants`. */
export function withVariantOption(command: Command): Command {
  return command.option('--kernel-variant <family=variant...>', 'run a kernel family in this variant instead of the one measured to be the fastest, e.g. encode=direct; '
    + 'encode=wide_f16 and encode=tiled_f16, which nothing else chooses, round what training encodes and encodes with to float16, by up to 2^-11 of each number, where the '
    + 'adapter has shader-f16; a number of 65,520 or more ends the run as not finite (docs/profile.md)');
}

/** Throws `usage` for what does not say family=variant; a variant that this adapter cannot run is refused when the family first runs. */
export function pinVariants(gpu: Gpu, choices: readonly string[] = []): void {
  for (const choice of choices) {
    const [, family, variant] = /^([a-z_]+(?: \d+x\d+(?: uneven)?)?)=([a-z0-9_]+)$/.exec(choice) ?? [];
    if (!family || !variant) throw new CochleaError('usage', `--kernel-variant ${choice} does not say FAMILY=VARIANT`, 'e.g. --kernel-variant encode=direct');
    gpu.variants.set(family, variant);
  }
}
