import type { Check } from '../bench.ts';
import { codes } from './codes.ts';
import { products } from './products.ts';
import { rowWork } from './rows.ts';
import { selections } from './selections.ts';

/** Every family of src/kernels, in the order in which a record lists them. A check's inputs depend on its place. */
export const checks: readonly Check[] = [...selections, ...products, ...rowWork, ...codes];
