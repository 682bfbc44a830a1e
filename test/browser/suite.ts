/** What the page of browser.test.ts runs on its own WebGPU: the cases of test/kernels, and SAELens' fixtures. */
import { Gpu } from '../../src/gpu/index.ts';
import { runJob } from '../../src/verify/job.ts';
import type { VerifyRecord } from '../../src/verify/record.ts';
import type { FixtureCase } from '../conformance/cases.ts';
import { checkCase } from '../conformance/check.ts';
import type { Case } from '../support/case.ts';

let gpu: Gpu | undefined;
const suites = new Map<string, Case[]>();

/** Imports a file of cases and gives the names of those that run here. */
export async function load(url: string): Promise<string[]> {
  const { cases } = (await import(url)) as { cases: Case[] };
  const { features } = gpu ??= await Gpu.open();
  suites.set(url, cases.filter(({ learns, needs }) => !learns && (!needs || features.includes(needs))));
  return suites.get(url)!.map(({ name }) => name);
}

/** Runs one case; undefined when it passed, else what went wrong. */
export function run(url: string, index: number): Promise<string | undefined> {
  return attempt((gpu) => suites.get(url)![index]!.run(gpu));
}

/** Checks a case of SAELens' fixtures, which the server has below /fixtures/. */
export function conform(one: FixtureCase): Promise<string | undefined> {
  return attempt(async (gpu) => {
    const worst = await checkCase(gpu, fetchFixture, one);
    if (!worst) throw new Error(`${one.architecture} is not supported`);
  });
}

/** The canonical job on the page's own WebGPU. */
export async function verify(options: { cochlea: string; steps?: number }): Promise<VerifyRecord> {
  gpu ??= await Gpu.open();
  return runJob(gpu, options);
}

async function fetchFixture(path: string): Promise<Uint8Array> {
  const response = await fetch(`/fixtures/${path}`);
  if (!response.ok) throw new Error(`cannot fetch ${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function attempt(work: (gpu: Gpu) => Promise<void>): Promise<string | undefined> {
  try {
    gpu ??= await Gpu.open();
    await work(gpu);
    return undefined;
  } catch (error) {
    return (error as Error).stack ?? String(error);
  }
}

export async function describeAdapter(): Promise<string> {
  gpu ??= await Gpu.open();
  return Object.values(gpu.adapter).filter((part) => typeof part === 'string' && part !== '').join(' ');
}
