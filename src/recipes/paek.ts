import type { Recipe } from './recipe.ts';

export const paek: Recipe = {
  name: 'paek',
  title: 'ReLU and an L1 penalty on the latents of audio autoencoders (DiffRhythm-VAE, EnCodec, WavTokenizer)',
  paper: {
    authors: 'Nathan Paek, Yongyi Zang, Qihui Yang, Randal Leistikow',
    title: 'Learning Interpretable Features in Audio Latent Spaces via Sparse Autoencoders',
    year: 2025, published: 'NeurIPS 2025 workshop on mechanistic interpretability; arXiv 2510.23802',
  },
  sources: {
    abstract: 'the abstract',
    notes: 'notes on the paper by others, not checked against it',
  },
  facts: [
    { what: 'models', is: 'DiffRhythm-VAE (continuous), EnCodec and WavTokenizer (discrete)', from: 'abstract' },
    { what: 'hook points', is: 'the autoencoder\'s latent vectors, one row per frame', from: 'abstract' },
    { what: 'architecture', is: 'h = relu(W_enc x + b_enc), f = h / rms(h), out from f', from: 'notes' },
    { what: 'loss', is: '|x - out|^2 + lambda |h|_1', from: 'notes' },
    { what: 'searched', is: 'width 4 to 256 times d_in, lambda 0.005 to 0.15, on a grid', from: 'notes' },
    { what: 'data', is: 'about 31 h of music: CocoChorales 11.2 h, DAMP-VSEP 11.7 h, Groove MIDI 7.8 h, GuitarSet 0.4 h, MAESTRO 0.55 h', from: 'notes' },
  ],
  settings: [
    { flag: 'arch', value: 'standard', from: 'notes' },
    { flag: 'lp-norm', value: 1, from: 'notes' },
  ],
  unknown: [
    { what: 'which width of the grid', flags: ['expansion'] },
    { what: 'which lambda, and the scale of the rows that it goes with', flags: ['l1-coefficient', 'normalize-activations', 'centre'] },
    { what: 'optimiser', instead: 'Adam' },
    { what: 'learning rate, steps, batch and schedules', flags: ['lr', 'steps', 'batch-size', 'lr-warm-up-steps', 'lr-decay-steps', 'l1-warm-up-steps'] },
    { what: 'initialisation, and what is done to decoder rows', flags: ['decoder-init-norm', 'unit-norm-decoder'] },
  ],
  notReproduced: ['activations divided by their root mean square', 'a penalty without decoder norms (here each activation counts times its decoder row\'s length)'],
};
