import { runtime } from '../../runtime/index.ts';
import { writeSafetensors } from '../../formats/index.ts';
import { checkPlain, checkRanking, elementType, hasUnitRows, refuse, writeJson, type Writer } from './writer.ts';

const form = 'sparsify';

export const sparsifyWriter: Writer = {
  name: form,
  title: 'cfg.json and sae.safetensors of EleutherAI/sparsify: topk and groupmax SAEs',
  async write(folder, sae) {
    const { config, weights } = sae;
    const { architecture, d_in: dIn, d_sae: dSae } = config;
    if (architecture !== 'topk' && architecture !== 'groupmax') refuse(form, `it is a ${architecture} SAE`, 'sparsify keeps the k largest latents, and nothing else');
    if (!config.apply_b_dec_to_input) refuse(form, 'it does not subtract b_dec from its input', 'sparsify always does');
    checkPlain(form, config);
    checkRanking(form, sae);
    const dtype = elementType(form, config);
    await writeSafetensors(runtime.paths.join(folder, 'sae.safetensors'), [
      { name: 'encoder.weight', dtype, shape: [dSae, dIn], data: weights.W_enc! }, { name: 'encoder.bias', dtype, shape: [dSae], data: weights.b_enc! },
      { name: 'W_dec', dtype, shape: [dSae, dIn], data: weights.W_dec }, { name: 'b_dec', dtype, shape: [dIn], data: weights.b_dec },
    ]);
    await writeJson(folder, 'cfg.json', {
      activation: architecture, expansion_factor: Math.max(1, Math.round(dSae / dIn)), normalize_decoder: hasUnitRows(weights), num_latents: dSae, k: config['k'],
      multi_topk: false, skip_connection: false, transcode: false, d_in: dIn,
    });
  },
};
