/** The classes of saprmarks/dictionary_learning; loaders/dictionary-learning.ts says what each computes. */
import { runtime } from '../../runtime/index.ts';
import { type FloatDType, type TorchToWrite, writeTorch } from '../../formats/index.ts';
import { transpose } from '../../sae/index.ts';
import { checkPlain, checkRanking, elementType, refuse, type SaeToWrite, writeJson, type Writer } from './writer.ts';

const form = 'dictionary_learning';

type State = Record<string, TorchToWrite>;

export const dictionaryLearningWriter: Writer = {
  name: form,
  title: 'config.json and ae.pt of saprmarks/dictionary_learning: standard, gated, topk, jumprelu and BatchTopK SAEs',
  async write(folder, sae) {
    const { config } = sae;
    checkPlain(form, config);
    const { dictClass, state, k } = dictionaryOf(sae, elementType(form, config));
    const { model_name: model, hook_name: hook, context_size: context } = config.metadata;
    const layer = typeof hook === 'string' ? /\d+/.exec(hook)?.[0] : undefined;
    await writeTorch(runtime.paths.join(folder, 'ae.pt'), state);
    await writeJson(folder, 'config.json', {
      trainer: {
        dict_class: dictClass, activation_dim: config.d_in, dict_size: config.d_sae, ...(k === undefined ? {} : { k }), layer: layer === undefined ? null : Number(layer),
        lm_name: typeof model === 'string' ? model : null, submodule_name: typeof hook === 'string' ? hook : null,
      },
      buffer: { d_submodule: config.d_in, ...(typeof context === 'number' ? { ctx_len: context } : {}) },
    });
  },
};

function dictionaryOf(sae: SaeToWrite, dtype: FloatDType): { dictClass: string; state: State; k?: number } {
  const { config, weights } = sae;
  const { architecture, d_in: dIn, d_sae: dSae, apply_b_dec_to_input: applied } = config;
  const tensor = (data: Float32Array, ...shape: number[]): TorchToWrite => ({ dtype, shape, data });
  const encoder = (): State => ({ 'encoder.weight': tensor(weights.W_enc!, dSae, dIn) });
  const biased = (): State => ({ ...encoder(), 'encoder.bias': tensor(weights.b_enc!, dSae) });
  const decoder = (): State => ({ 'decoder.weight': tensor(transpose(weights.W_dec, dSae, dIn), dIn, dSae) });
  const output = (name: string): State => ({ [name]: tensor(weights.b_dec, dIn) });

  switch (architecture) {
    case 'standard':
      return applied ? { dictClass: 'AutoEncoder', state: { ...output('bias'), ...biased(), ...decoder() } }
        : { dictClass: 'AutoEncoderNew', state: { ...biased(), ...decoder(), ...output('decoder.bias') } };
    case 'gated':
      if (!applied) refuse(form, 'it does not subtract b_dec from its input', 'GatedAutoEncoder always does');
      return {
        dictClass: 'GatedAutoEncoder',
        state: {
          ...output('decoder_bias'), r_mag: tensor(weights.r_mag!, dSae), gate_bias: tensor(weights.b_gate!, dSae), mag_bias: tensor(weights.b_mag!, dSae),
          ...encoder(), ...decoder(),
        },
      };
    case 'topk': {
      if (!applied) refuse(form, 'it does not subtract b_dec from its input', 'AutoEncoderTopK always does');
      checkRanking(form, sae);
      const k = Number(config['k']);
      // A threshold below zero is one that was not estimated.
      return { dictClass: 'AutoEncoderTopK', state: { ...output('b_dec'), k: integer(k), threshold: number(-1), ...decoder(), ...biased() }, k };
    }
    case 'jumprelu': {
      if (!applied) {
        return {
          dictClass: 'JumpReluAutoEncoder',
          state: {
            W_enc: tensor(transpose(weights.W_enc!, dSae, dIn), dIn, dSae), b_enc: tensor(weights.b_enc!, dSae), W_dec: tensor(weights.W_dec, dSae, dIn),
            ...output('b_dec'), threshold: tensor(weights.threshold!, dSae),
          },
        };
      }
      const [threshold] = weights.threshold!;
      if (weights.threshold!.some((other) => other !== threshold)) {
        refuse(form, 'its latents have thresholds of their own and its input loses b_dec', 'JumpReluAutoEncoder does not subtract b_dec, BatchTopKSAE has one threshold');
      }
      const k = trainedK(sae);
      return { dictClass: 'BatchTopKSAE', state: { ...output('b_dec'), k: integer(k), threshold: number(threshold!), ...decoder(), ...biased() }, k };
    }
    default: return refuse(form, `it is a ${architecture} SAE`, 'dictionary_learning has no class for it');
  }
}

/** What BatchTopK was trained with; its class keeps it in the state. */
function trainedK({ config }: SaeToWrite): number {
  const details = config.metadata['training_architecture_details'];
  const k = typeof details === 'object' && details !== null && !Array.isArray(details) ? details['k'] : undefined;
  if (!Number.isSafeInteger(k) || (k as number) < 1) {
    refuse(form, 'BatchTopKSAE needs the whole number k that it was trained with', 'metadata.training_architecture_details.k of cfg.json has none');
  }
  return k as number;
}

const number = (value: number): TorchToWrite => ({ dtype: 'F32', shape: [], data: Float32Array.of(value) });
const integer = (value: number): TorchToWrite => ({ dtype: 'I32', shape: [], data: new Uint8Array(Int32Array.of(value).buffer) });
