import type { Gpu } from '../../src/gpu/index.ts';

/**
 * One check of GPU code, which runs in Node, in Deno and in a page: a file test/kernels/<name>.cases.ts exports
 * `cases: Case[]` and imports nothing that a page does not have. A case throws when it fails (see check.ts).
 */
export interface Case {
  name: string;
  /** Trains for long to show that it learns, by kernels that other cases check: Node runs it, Deno and the page do not. */
  learns?: true;
  /** Adapters without it pass the case over. */
  needs?: GPUFeatureName;
  run(gpu: Gpu): Promise<void>;
}
