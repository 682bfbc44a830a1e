import type { Recipe } from './recipe.ts';

export const plantingaPd: Recipe = {
  name: 'plantinga-pd',
  title: '64 latents, gated, on one pooled row per 30 s of speech, for a detector of Parkinson\'s disease on Whisper small',
  paper: {
    authors: 'Peter Plantinga, Jen-Kai Chen, Roozbeh Sattari, Mirco Ravanelli, Denise Klein',
    title: 'From Black Box to Biomarker: Sparse Autoencoders for Interpreting Speech Models of Parkinson\'s Disease',
    year: 2025, published: 'NeurIPS 2025; arXiv 2507.16836',
  },
  sources: {
    notes: 'notes on the paper by others, not checked against it',
    nearest: 'no part of the paper: the nearest that cochlea has',
  },
  facts: [
    { what: 'model', is: 'Whisper small\'s encoder, frozen, with a linear layer, attention pooling and a classifier trained on it (Adam in 8 bits, 1e-4, 20 epochs)', from: 'notes' },
    { what: 'hook point', is: 'behind the attention pooling: one row per sample, of which training takes segments of 30 s', from: 'notes' },
    { what: 'architecture', is: 'f = (W_e x + b_e) sigmoid(tau (W_m x + b_m)), out = W_d f + b_d; tau from 1 to 0.2 in 200 steps', from: 'notes' },
    { what: 'loss', is: 'mean squared error over numbers + 0.001 times the mean over latents of mask_i |W_d,i|: the mask is penalised, not the value, which may be negative', from: 'notes' },
    { what: 'data', is: 'Quebec Parkinson Network: 208 patients, 52 controls, describing a picture; 1024 segments per epoch, batches of 32 for the detector', from: 'notes' },
  ],
  settings: [
    { flag: 'arch', value: 'gated', from: 'nearest', note: 'decides apart from the value whether a latent is active, as the mask does' },
    { flag: 'd-sae', value: 64, from: 'notes' },
    { flag: 'pool-seconds', value: 30, from: 'nearest', note: 'the mean over each segment, of extract, and of train --audio' },
  ],
  unknown: [
    { what: 'optimiser and learning rate of the SAE (those above are the detector\'s)', flags: ['lr', 'lr-warm-up-steps', 'lr-decay-steps'] },
    { what: 'steps and batch of the SAE', flags: ['steps', 'batch-size'] },
    { what: 'normalisation, centring, initialisation', flags: ['normalize-activations', 'centre', 'decoder-init-norm'] },
    { what: 'what weight of our penalty goes with 0.001 on the mask, another quantity', flags: ['l1-coefficient'] },
  ],
  notReproduced: [
    'the soft mask and its temperature (gated: hard gates, values not negative)', 'attention pooling by a trained detector (the mean over 30 s; bring its pooled rows by --activations)',
    'noise and notch filters on the recordings',
  ],
};
