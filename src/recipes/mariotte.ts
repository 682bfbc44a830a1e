import type { Recipe } from './recipe.ts';

export const mariotte: Recipe = {
  name: 'mariotte',
  title: 'TopK with 2048 latents on the mean frame of 5 s of singing, for AST, HuBERT, WavLM and MERT',
  paper: {
    authors: 'Théo Mariotte et al.',
    title: 'Sparse Autoencoders Make Audio Foundation Models more Explainable',
    year: 2025, published: 'ICASSP 2026; arXiv 2509.24793', code: 'https://github.com/theomariotte/sae_audio_ssl',
  },
  sources: {
    config: 'audxsae/config/sae_ssl_cfg_vocalset.py of the authors\' code, commit 828fcaf',
    model: 'audxsae/nn/sae.py and pretrained_models.py, the same commit',
    training: 'audxsae/src/sae_train_ssl.py, the same commit',
    data: 'audxsae/data/music.py, the same commit',
  },
  facts: [
    { what: 'models', is: 'AST (MIT/ast-finetuned-audioset-10-10-0.4593), HuBERT base (facebook/hubert-base-ls960), WavLM base+ (microsoft/wavlm-base-plus), MERT (m-a-p/MERT-v1-95M), frozen', from: 'model' },
    { what: 'WavLM', is: 'its weights are loaded into a Wav2Vec2Model, which has no gated relative position bias', from: 'model' },
    { what: 'hook points', is: 'hidden states 6 and 12 of AST, 3 and 12 of HuBERT, 1 and 12 of WavLM, 4 and 7 of MERT, and the last one; hidden state n is encoder.layers.(n - 1) here', from: 'config' },
    { what: 'pooling', is: 'mean over time before the SAE: one row per clip', from: 'model' },
    { what: 'data', is: 'VocalSet, ten singing techniques, at 16 kHz (24 kHz for MERT); 80 % of the training files', from: 'data' },
    { what: 'clips', is: '5 s: a new random cut in every epoch, zeros appended to shorter ones, which count in the mean', from: 'data' },
    { what: 'loss', is: 'mean squared error over numbers and rows', from: 'training' },
    { what: 'selection', is: 'the epoch with the lowest validation error is kept', from: 'training' },
  ],
  settings: [
    { flag: 'arch', value: 'topk', from: 'config' },
    { flag: 'd-sae', value: 2048, from: 'config' },
    { flag: 'k', value: 204, from: 'config', note: 'sparsity 0.9; 0.75, 0.8, 0.85, 0.95, 0.99 are k 512, 409, 307, 102, 20' },
    { flag: 'rescale-acts-by-decoder-norm', value: false, from: 'model' },
    { flag: 'apply-b-dec-to-input', value: false, from: 'model' },
    { flag: 'aux-loss-coefficient', value: 0, from: 'training' },
    { flag: 'normalize-activations', value: 'none', from: 'model' },
    { flag: 'centre', value: false, from: 'model' },
    { flag: 'lr', value: 1e-3, from: 'config', note: 'Adam' },
    { flag: 'lr-scheduler', value: 'constant', from: 'training', note: 'halved every 200 epochs, of which there are 100' },
    { flag: 'batch-size', value: 16, from: 'config' },
    { flag: 'epochs', value: 100, from: 'config' },
    { flag: 'pool-seconds', value: 5, from: 'config', note: 'of extract, and of train --audio' },
    { flag: 'seed', value: 42, from: 'training' },
  ],
  unknown: [
    { what: 'whether the paper\'s runs used these files as they stand', instead: 'they are taken as they are' },
    { what: 'one sparsity of the six that were compared', instead: 'the common value of the configuration, 0.9' },
  ],
  notReproduced: [
    'a decoder without bias (b_dec is trained)', 'PyTorch\'s initialisation of two independent layers', 'gradients that are not clipped',
    'random cuts (5 s windows from each clip\'s beginning, seen by the model in their clip, zeros left out)', 'the choice of the best epoch',
  ],
};
