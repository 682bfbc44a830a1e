import { dictionaryLearningWriter } from './dictionary-learning.ts';
import { npzWriter } from './npz.ts';
import { saelensWriter } from './saelens.ts';
import { sparsifyWriter } from './sparsify.ts';
import type { Writer } from './writer.ts';

export const writers: readonly Writer[] = [saelensWriter, dictionaryLearningWriter, sparsifyWriter, npzWriter];
