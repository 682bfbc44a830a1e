import type { Recipe } from './recipe.ts';

export const audiosae: Recipe = {
  name: 'audiosae',
  title: 'BatchTopK, eight times as wide, k 50, on single frames of every encoder layer of Whisper and HuBERT',
  paper: {
    authors: 'Georgii Aparin, Tasnima Sadekova, Alexey Rukhovich, Assel Yermekova, Laida Kushnareva, Vadim Popov, Kristian Kuznetsov, Irina Piontkovskaya',
    title: 'AudioSAE: Towards Understanding of Audio-Processing Models with Sparse AutoEncoders',
    year: 2026, published: 'EACL 2026, long paper 149; arXiv 2602.05027', code: 'https://github.com/audiosae/audiosae_demo (inference only)',
  },
  sources: {
    card: 'the authors\' model cards, Hugging Face, Egorgij21/Audio-SAE-HuBERT-base and its siblings',
    notes: 'notes on the paper by others, not checked against it',
  },
  facts: [
    { what: 'models', is: 'HuBERT base (facebook/hubert-base-ls960) and large (ll60k), Whisper small, large-v3 and large-v3-turbo, frozen', from: 'card' },
    { what: 'hook points', is: 'residual stream after each encoder block; their layer n, counted from 1, is encoder.layers.(n - 1) here', from: 'card' },
    { what: 'frames', is: 'one row per frame; max over time only for tasks on whole clips, after the SAE', from: 'notes' },
    { what: 'loss', is: 'squared error alone', from: 'card' },
    { what: 'data', is: 'about 2800 h of speech (LibriSpeech, LibriHeavy and others), music and environmental sound', from: 'card' },
    { what: 'mixture', is: 'by weight, per batch about 40 % speech, 45 % music, 15 % other sound', from: 'notes' },
    { what: 'augmentation', is: 'noise added with probability 0.05, music with 0.025, at 0 to 20 dB', from: 'notes' },
    { what: 'normalisation', is: 'unit norm', from: 'notes' },
  ],
  settings: [
    { flag: 'arch', value: 'batchtopk', from: 'card' },
    { flag: 'expansion', value: 8, from: 'card', note: '6144, 8192 or 10240 latents' },
    { flag: 'k', value: 50, from: 'card' },
    { flag: 'aux-loss-coefficient', value: 0, from: 'card', note: 'its loss has no other term' },
    { flag: 'normalize-activations', value: 'expected_average_only_in', from: 'notes', note: 'for "unit norm": one factor for all frames, folded into the saved weights' },
    { flag: 'lr', value: 2e-4, from: 'card', note: 'Adam' },
    { flag: 'lr-decay-steps', value: 40_000, from: 'card', note: 'from step 160,000 on' },
    { flag: 'batch-size', value: 2500, from: 'notes', note: '50 s of sound' },
    { flag: 'steps', value: 200_000, from: 'card' },
    { flag: 'mixing-buffer', value: 250_000, from: 'notes', note: '100 batches' },
  ],
  unknown: [
    { what: 'whether "unit norm" is of each frame or of their average', instead: 'the average; --normalize-activations constant_norm_rescale normalises each frame' },
    { what: 'whether the mean frame is subtracted', flags: ['centre'] },
    { what: 'warm-up of the learning rate (notes have 10,000 steps of warm-up for a sparsity weight, which BatchTopK does not have)', flags: ['lr-warm-up-steps'] },
    { what: 'initialisation, and whether decoder rows are kept at length 1', flags: ['decoder-init-norm', 'unit-norm-decoder', 'b-dec-init-method'] },
    { what: 'rate of the running threshold', flags: ['topk-threshold-lr'] },
    { what: 'clipping of gradients', instead: 'the norm is clipped at 1, as in every run' },
  ],
  notReproduced: ['noise and music added to some recordings', 'the weighted mixture of corpora (give them by --audio in the shares wanted)'],
};
