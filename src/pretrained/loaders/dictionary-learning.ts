/**
 * saprmarks/dictionary_learning: config.json and ae.pt, the state of one of its classes. With W = encoder.weight [d_sae, d_in] and D = decoder.weight
 * [d_in, d_sae], or W_enc [d_in, d_sae] and W_dec [d_sae, d_in]:
 *
 *   AutoEncoder              f = relu(W (x - bias) + b)                                        out = D f + bias
 *   AutoEncoderNew           f = relu(W x + b)                                                 out = D f + decoder.bias
 *   GatedAutoEncoder         f = [W (x - c) + gate_bias > 0] relu(exp(r_mag) W (x - c) + mag_bias)   out = D f + c,  c = decoder_bias
 *   AutoEncoderTopK          f = the k largest of relu(W (x - b_dec) + b)                      out = D f + b_dec
 *   BatchTopKSAE             f = h where h > threshold, else 0; h = relu(W (x - b_dec) + b)    out = D f + b_dec
 *   MatryoshkaBatchTopKSAE   the same, nested groups playing no part any more
 *   JumpReluAutoEncoder      f = relu(h) where h > threshold_i, else 0; h = W x + b            out = D f + b_dec
 *
 * A threshold below zero is one that was never estimated: everything above zero fires then, which is what the library does. Its AutoEncoder
 * rescales itself to unit decoder rows when loaded; the weights here are those of the file.
 */
import { CochleaError } from '../../errors.ts';
import type { Weights } from '../../sae/index.ts';
import { type Fields, readFields } from '../fields.ts';
import type { FileSet } from '../files.ts';
import { configOf, type Loader, type LoadOptions, type PretrainedSae } from '../loader.ts';
import { type Tensors, withTensors } from '../tensors.ts';

export const stateFile = 'ae.pt', trainingFile = 'config.json';
export const dictionaryFiles = (path: string): ReturnType<Loader['files']> => ({ needed: [`${path}/${stateFile}`, `${path}/${trainingFile}`], optional: [] });

export const dictionaryLearning: Loader = {
  name: 'dictionary_learning',
  title: 'saprmarks/dictionary_learning (config.json, ae.pt)',
  files: dictionaryFiles,
  detect: async (files) => files.names.has(stateFile) && files.names.has(trainingFile) && (await readFields(files, trainingFile)).has('trainer'),
  async read(files, options) {
    const trainer = (await readFields(files, trainingFile)).object('trainer');
    return readDictionary(files, trainer, trainer.text('dict_class'), hookOf(trainer), options);
  },
};

/** One class: its tensors, and how they become an SAE. */
interface Dictionary {
  tensors: readonly string[];
  architecture: string;
  applyBDec: boolean;
  read(tensors: Tensors, sizes: Sizes, options: LoadOptions): Promise<{ weights: Weights; architecture?: string; notes?: string[] }>;
}

interface Sizes {
  dIn: number;
  dSae: number;
}

async function linear(tensors: Tensors, { dIn, dSae }: Sizes, bias: string): Promise<Weights> {
  return {
    W_enc: await tensors.matrix('encoder.weight', dSae, dIn), W_dec: await tensors.transposed('decoder.weight', dIn, dSae), b_dec: await tensors.vector(bias, dIn),
  };
}

async function biased(tensors: Tensors, sizes: Sizes, bias: string): Promise<Weights> {
  return { ...await linear(tensors, sizes, bias), b_enc: await tensors.vector('encoder.bias', sizes.dSae) };
}

async function plain(tensors: Tensors, { dIn, dSae }: Sizes): Promise<Weights> {
  return {
    W_enc: await tensors.transposed('W_enc', dIn, dSae), W_dec: await tensors.matrix('W_dec', dSae, dIn),
    b_enc: await tensors.vector('b_enc', dSae), b_dec: await tensors.vector('b_dec', dIn),
  };
}

const ranked = ['encoder.weight', 'encoder.bias', 'decoder.weight', 'b_dec', 'k', 'threshold'] as const;
const separate = ['W_enc', 'W_dec', 'b_enc', 'b_dec'] as const;

const dictionaries: Readonly<Record<string, Dictionary>> = {
  AutoEncoder: {
    tensors: ['bias', 'encoder.weight', 'encoder.bias', 'decoder.weight'], architecture: 'standard', applyBDec: true,
    read: async (tensors, sizes) => ({ weights: await biased(tensors, sizes, 'bias') }),
  },
  AutoEncoderNew: {
    tensors: ['encoder.weight', 'encoder.bias', 'decoder.weight', 'decoder.bias'], architecture: 'standard', applyBDec: false,
    read: async (tensors, sizes) => ({ weights: await biased(tensors, sizes, 'decoder.bias') }),
  },
  GatedAutoEncoder: {
    tensors: ['decoder_bias', 'r_mag', 'gate_bias', 'mag_bias', 'encoder.weight', 'decoder.weight'], architecture: 'gated', applyBDec: true,
    read: async (tensors, sizes) => ({
      weights: {
        ...await linear(tensors, sizes, 'decoder_bias'), b_gate: await tensors.vector('gate_bias', sizes.dSae), r_mag: await tensors.vector('r_mag', sizes.dSae),
        b_mag: await tensors.vector('mag_bias', sizes.dSae),
      },
    }),
  },
  AutoEncoderTopK: {
    tensors: ranked, architecture: 'topk', applyBDec: true,
    read: async (tensors, sizes) => ({ weights: await biased(tensors, sizes, 'b_dec') }),
  },
  BatchTopKSAE: {
    tensors: ranked, architecture: 'jumprelu', applyBDec: true,
    read: async (tensors, sizes, options) => thresholded(tensors, sizes, await biased(tensors, sizes, 'b_dec'), options),
  },
  MatryoshkaBatchTopKSAE: {
    tensors: [...separate, 'k', 'threshold', 'group_sizes'], architecture: 'jumprelu', applyBDec: true,
    read: async (tensors, sizes, options) => thresholded(tensors, sizes, await plain(tensors, sizes), options),
  },
  JumpReluAutoEncoder: {
    tensors: [...separate, 'threshold'], architecture: 'jumprelu', applyBDec: false,
    read: async (tensors, sizes) => ({ weights: { ...await plain(tensors, sizes), threshold: await tensors.vector('threshold', sizes.dSae) } }),
  },
};

/** One threshold for all latents: the file's, or the one that was asked for where it has none. */
async function thresholded(tensors: Tensors, { dSae }: Sizes, weights: Weights, { threshold: given }: LoadOptions): ReturnType<Dictionary['read']> {
  if (tensors.has('threshold')) {
    const threshold = await tensors.scalar('threshold');
    return {
      weights: { ...weights, threshold: new Float32Array(dSae).fill(threshold) },
      notes: threshold < 0 ? ['its threshold was never estimated: every latent above zero fires'] : [],
    };
  }
  if (given === 'per-frame') return { weights, architecture: 'topk', notes: ['without a threshold of its own: the k largest of each frame are kept'] };
  if (given !== undefined) return { weights: { ...weights, threshold: new Float32Array(dSae).fill(given) } };
  throw new CochleaError('config', `${tensors.path} is a BatchTopK SAE without its threshold: what a frame fires would depend on the frames beside it`,
    'give a threshold, or per-frame for the k largest of each frame (--threshold)');
}

/** The library's own names are of residual streams; any other is kept as it is. */
function hookOf(trainer: Fields): string | undefined {
  const submodule = trainer.optionalText('submodule_name');
  const layer = trainer.has('layer') ? trainer.count('layer', 0) : undefined;
  return layer !== undefined && (submodule === undefined || submodule.startsWith('resid_post')) ? `blocks.${layer}.hook_resid_post` : submodule;
}

/** The SAE of a class, from its state; `trainer` are the fields of its training, `hook` what it reads. */
export async function readDictionary(files: FileSet, trainer: Fields, dictClass: string, hook: string | undefined, options: LoadOptions): Promise<PretrainedSae> {
  if (!Object.hasOwn(dictionaries, dictClass)) {
    throw new CochleaError('config', `${trainer.path} is a ${JSON.stringify(dictClass.slice(0, 60))}`, `these have a form here: ${Object.keys(dictionaries).join(', ')}`);
  }
  const dictionary = dictionaries[dictClass]!;
  return withTensors(files, stateFile, async (tensors) => {
    tensors.only(dictionary.tensors);
    const flipped = tensors.has('W_enc');
    const [rows, columns] = tensors.matrixShape(flipped ? 'W_enc' : 'encoder.weight');
    const sizes = flipped ? { dIn: rows, dSae: columns } : { dIn: columns, dSae: rows };
    const { weights, architecture = dictionary.architecture, notes = [] } = await dictionary.read(tensors, sizes, options);
    const ranks = dictionary.tensors.includes('k');
    // Before k became part of the state it stood among the settings alone.
    const k = ranks && tensors.has('k') ? await tensors.scalar('k') : ranks && (architecture === 'topk' || trainer.has('k')) ? trainer.count('k') : undefined;
    if (k !== undefined && !(Number.isSafeInteger(k) && k > 0)) throw new CochleaError('file-damaged', `${tensors.path}: k is ${k}, not a positive whole number`);
    return {
      config: configOf({
        architecture, ...sizes, dtype: tensors.dtype(flipped ? 'W_enc' : 'encoder.weight'), applyBDec: dictionary.applyBDec,
        ...(architecture === 'topk' ? { fields: { k: k! } } : {}),
        metadata: {
          model_name: trainer.optionalText('lm_name'), hook_name: hook, dict_class: dictClass,
          // What BatchTopK was trained with has no field in a JumpReLU configuration.
          ...(architecture === 'jumprelu' && k !== undefined
            ? { training_architecture: dictClass.startsWith('Matryoshka') ? 'matryoshka_batchtopk' : 'batchtopk', training_architecture_details: { k } } : {}),
        },
      }),
      weights, notes,
    };
  });
}
