import type { Recipe } from './recipe.ts';

export const ard: Recipe = {
  name: 'ard',
  title: 'TopK, eight times as wide, on a decoder layer of an audio language model (AR&D)',
  paper: {
    authors: 'Townim Faisal Chowdhury, Ta Duc Huy, Siqi Pan, Jeremy Stoddard, Zhibin Liao',
    title: 'AR&D: A Framework for Retrieving and Describing Concepts for Interpreting AudioLLMs',
    year: 2026, published: 'ICASSP 2026; arXiv 2602.22253', code: 'https://townim-faisal.github.io/AutoInterpret-AudioLLM/ (project page)',
  },
  sources: {
    notes: 'notes on the paper by others, not checked against it',
  },
  facts: [
    { what: 'model', is: 'Qwen2-Audio-7B-Instruct, a layer of its language decoder', from: 'notes' },
    { what: 'layer', is: '26 was the best of those compared', from: 'notes' },
    { what: 'pooling', is: 'none before the SAE; clips are ranked by mean activation and coverage of a latent', from: 'notes' },
    { what: 'data', is: 'WavCaps (its AudioSet part) and IEMOCAP for finding concepts', from: 'notes' },
  ],
  settings: [
    { flag: 'arch', value: 'topk', from: 'notes' },
    { flag: 'expansion', value: 8, from: 'notes', note: 'the best of those compared' },
    { flag: 'k', value: 250, from: 'notes', note: 'given as K = 250; taken for the latents kept per row' },
    { flag: 'lr', value: 1e-5, from: 'notes' },
  ],
  unknown: [
    { what: 'optimiser', instead: 'Adam' },
    { what: 'steps, batch and how rows are mixed', flags: ['steps', 'batch-size', 'mixing-buffer'] },
    { what: 'schedule of the learning rate', flags: ['lr-warm-up-steps', 'lr-decay-steps'] },
    { what: 'normalisation, centring', flags: ['normalize-activations', 'centre'] },
    { what: 'auxiliary loss, initialisation, length of decoder rows', flags: ['aux-loss-coefficient', 'decoder-init-norm', 'unit-norm-decoder', 'rescale-acts-by-decoder-norm'] },
    { what: 'which tokens of the prompt and of the sound make rows, and the prompt', instead: 'whatever rows --activations has' },
    { what: 'whether the SAE was trained on the data that concepts were found with', instead: 'whatever rows --activations has' },
  ],
  notReproduced: ['the model (cochlea runs encoders: bring its activations by --activations)'],
};
