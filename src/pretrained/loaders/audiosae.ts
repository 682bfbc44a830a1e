/**
 * AudioSAE, "AudioSAE: towards understanding of audio-processing models with sparse autoencoders", Aparin et al., EACL 2026: layer_N/ae.pt and
 * config.json of BatchTopK SAEs of Whisper's and HuBERT's encoders, 8 times as wide as the encoder, k 50. The state is that of
 * dictionary_learning's BatchTopKSAE. The model cards name encoder.weight, encoder.bias, decoder.weight, b_dec and k; whether a threshold lies in
 * the file as well is seen on loading.
 */
import { readFields } from '../fields.ts';
import type { Loader } from '../loader.ts';
import { dictionaryFiles, readDictionary, stateFile, trainingFile } from './dictionary-learning.ts';

export const audiosae: Loader = {
  name: 'audiosae',
  title: 'AudioSAE (layer_N/config.json, ae.pt)',
  files: dictionaryFiles,
  async detect(files) {
    if (!files.names.has(stateFile) || !files.names.has(trainingFile)) return false;
    const fields = await readFields(files, trainingFile);
    return !fields.has('trainer') && fields.has('activation_dim');
  },
  async read(files, options) {
    const fields = await readFields(files, trainingFile);
    const trainer = fields.has('trainer') ? fields.object('trainer') : fields;
    // Layers count from 1: layer_N is the output of the N-th block, here encoder.layers.N-1.
    const layer = /^layer_([1-9]\d*)$/.exec(files.place.at(-1) ?? '')?.[1];
    const hook = layer === undefined ? undefined : `encoder.layers.${Number(layer) - 1}`;
    return readDictionary(files, trainer, trainer.optionalText('dict_class') ?? 'BatchTopKSAE', hook, options);
  },
};
