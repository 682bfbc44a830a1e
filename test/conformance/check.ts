/** Any case of a fixture set against the engine, in every runtime. */
import { parseSaelensConfig } from '../../src/formats/saelens-config.ts';
import type { Gpu } from '../../src/gpu/index.ts';
import { inferenceArchitectures, trainedArchitectures } from '../../src/sae/index.ts';
import type { FixtureCase, ReadFile } from './cases.ts';
import { checkInference } from './inference.ts';
import { checkTraining } from './training.ts';

/** Whether the engine has the architecture of a case. */
export function isSupported({ kind, architecture }: FixtureCase): boolean {
  return (kind === 'training' ? trainedArchitectures : inferenceArchitectures).includes(architecture);
}

/** Worst deviations by kind of number; undefined when the engine does not have this architecture. Throws when one is too large. */
export async function checkCase(gpu: Gpu, read: ReadFile, one: FixtureCase): Promise<Record<string, number> | undefined> {
  const { name, kind } = one;
  if (!isSupported(one)) return undefined;
  if (kind === 'training') return checkTraining(gpu, read, name);
  const path = `infer/${name}/cfg.json`;
  const config = parseSaelensConfig(new TextDecoder().decode(await read(path)), path);
  return { output: await checkInference(gpu, read, name, config) };
}
