import { runtime } from '../../runtime/index.ts';
import { saelensVersion, writeNpz } from '../../formats/index.ts';
import { tensorsFromWeights } from '../../sae/index.ts';
import { elementType, writeJson, type Writer } from './writer.ts';

/** NumPy has no bfloat16: everything is float32, which holds it. */
export const npzWriter: Writer = {
  name: 'npz',
  title: 'params.npz as Gemma Scope has it, and cfg.json for what that leaves open; every architecture',
  async write(folder, { config, weights }) {
    elementType('npz', config);
    const arrays = [...tensorsFromWeights(weights)].map(([name, { shape, data }]) => ({ name, dtype: 'F32' as const, shape, data }));
    await writeNpz(runtime.paths.join(folder, 'params.npz'), arrays);
    await writeJson(folder, 'cfg.json', { ...config, metadata: { sae_lens_version: saelensVersion, sae_lens_training_version: saelensVersion, ...config.metadata } });
  },
};
