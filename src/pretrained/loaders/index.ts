/** Every family, one line each; the first whose files these are reads them. */
import type { Loader } from '../loader.ts';
import { audiosae } from './audiosae.ts';
import { clt } from './clt.ts';
import { dictionaryLearning } from './dictionary-learning.ts';
import { gemmaScope, gemmaScopeTranscoder } from './gemma-scope.ts';
import { gemmaScope2 } from './gemma-scope-2.ts';
import { hookZ } from './hook-z.ts';
import { linearLayers } from './linear-layers.ts';
import { llamaScope, llamaScopeR1Distill } from './llama-scope.ts';
import { mwhanna } from './mwhanna.ts';
import { openai } from './openai.ts';
import { saelens } from './saelens.ts';
import { sparsify } from './sparsify.ts';

export const loaders: readonly Loader[] = [
  saelens, sparsify, dictionaryLearning, audiosae, gemmaScope, gemmaScopeTranscoder, gemmaScope2, llamaScope, llamaScopeR1Distill, hookZ, openai, linearLayers, mwhanna, clt,
];
