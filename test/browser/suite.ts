/** What the page of browser.test.ts runs: the cases of test/kernels on the page's own WebGPU. */
import { Gpu } from '../../src/gpu/index.ts';
import type { Case } from '../support/case.ts';

let gpu: Gpu | undefined;
const suites = new Map<string, Case[]>();

/** Imports a file of cases and gives their names. */
export async function load(url: string): Promise<string[]> {
  const { cases } = (await import(url)) as { cases: Case[] };
  suites.set(url, cases);
  return cases.map(({ name }) => name);
}

/** Runs one case; undefined when it passed, else what went wrong. */
export async function run(url: string, index: number): Promise<string | undefined> {
  try {
    gpu ??= await Gpu.open();
    await suites.get(url)![index]!.run(gpu);
    return undefined;
  } catch (error) {
    return (error as Error).stack ?? String(error);
  }
}

export async function describeAdapter(): Promise<string> {
  gpu ??= await Gpu.open();
  return Object.values(gpu.adapter).filter((part) => typeof part === 'string' && part !== '').join(' ');
}
