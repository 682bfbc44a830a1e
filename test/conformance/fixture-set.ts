/** Where fixture sets lie. */
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fixture, shared } from '../support/paths.ts';
import { type FixtureCase, type ReadFile, readManifest } from './cases.ts';

export interface FixtureSet {
  read: ReadFile;
  cases: FixtureCase[];
  /** Set when this is not the whole set: why. */
  reduced?: string;
}

/** A set in a folder with a manifest.json. */
export async function openFixtureSet(folder: string): Promise<FixtureSet> {
  const read: ReadFile = async (path) => new Uint8Array(await readFile(join(folder, path)));
  return { read, cases: await readManifest(read) };
}

/** The whole set beside the repository, or without that the cases that the repository keeps. */
export async function givenFixtures(): Promise<FixtureSet> {
  const whole = shared('fixtures', 'saelens');
  return whole ? openFixtureSet(whole) : { ...copiedFixtures(), reduced: '../shared/fixtures/saelens is not there: only the cases in test/fixtures are checked' };
}

/** The copies have no manifest: each folder says itself what it holds. test/fixtures/saelens is all inference cases. */
export function copiedFixtures(): FixtureSet {
  const places = { train: fixture('saelens-train', 'train'), infer: fixture('saelens-train', 'infer'), more: fixture('saelens') };
  const architectureOf = (path: string): string => {
    const fields = JSON.parse(readFileSync(path, 'utf8')) as { architecture?: string; sae_cfg?: { architecture: string } };
    return fields.sae_cfg?.architecture ?? fields.architecture!;
  };
  const found = (folder: string, kind: FixtureCase['kind'], file: string): FixtureCase[] => readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory()).map(({ name }) => ({ name, kind, architecture: architectureOf(join(folder, name, file)) }));
  const more = found(places.more, 'inference', 'cfg.json');
  return {
    cases: [...found(places.infer, 'inference', 'cfg.json'), ...more, ...found(places.train, 'training', 'case.json')],
    read: async (path) => {
      const [kind, name, ...rest] = path.split('/');
      const place = kind === 'train' ? places.train : more.some((one) => one.name === name) ? places.more : places.infer;
      return new Uint8Array(await readFile(join(place, name!, ...rest)));
    },
  };
}
