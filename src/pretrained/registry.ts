/** Which repository, which files and which loader a release's SAE is. */
import { CochleaError } from '../errors.ts';
import type { Json } from '../formats/index.ts';
import type { LoadOptions } from './loader.ts';
import { loaderNamed } from './load.ts';
import { releases } from './releases.ts';

/** Numbers of the layers: in a list from layer 0 on, or by layer. */
export type PerLayer = readonly number[] | Readonly<Record<number, number>>;

/**
 * Some ids of a release, in one pattern. `{layer:0-25}` is a number of that range, `{width:16k|65k}` one of these, `{layer}` any number; in
 * `path` and `hook` the same names stand for what the id had, `{layer-1}` for one less.
 */
export interface IdPattern {
  id: string;
  /** Folder or file in the repository; where it is missing, the id. */
  path?: string;
  /** Where it is not the release's. */
  hook?: string;
  /** What `{l0}` is in `path`. */
  l0?: PerLayer;
  /** LoadOptions.scale, or that of each layer. */
  scale?: number | PerLayer;
}

export interface Release {
  /** On the Hub; null: not known here. */
  repo: string | null;
  model: string;
  loader: string;
  licence: string | null;
  dIn: number | null;
  /** Hook point, with the placeholders of the ids; `{id}`: the id is one. Null: not known, or said by the SAE's own files. */
  hook: string | null;
  /** LoadOptions.overrides. */
  overrides?: Readonly<Record<string, Json>>;
  ids: readonly IdPattern[];
}

export interface ResolvedSae {
  repo: string;
  /** Folder or file in the repository: the id for readPretrained in its snapshot. */
  path: string;
  licence: string | null;
  /** Files to bring; `optional` ones where the repository has them. */
  files: { needed: string[]; optional: string[] };
  options: LoadOptions;
}

/**
 * Where the SAE `id` of a release lies and how it is read. A name with '/' that is no release is a repository of the Hub, whose layout is seen
 * when it is there: then `id` is a folder or file in it. Undefined for anything else. Throws `usage` for an id that the release does not have,
 * `fetch` for a release whose repository is not known.
 */
export function resolveSae(name: string, id: string | undefined): ResolvedSae | undefined {
  const release = Object.hasOwn(releases, name) ? releases[name]! : undefined;
  if (!release) return undefined;
  const found = release.ids.map((pattern) => ({ pattern, values: id === undefined ? undefined : match(pattern.id, id) })).find(({ values }) => values);
  if (!found || id === undefined) {
    const ids = release.ids.map((pattern) => pattern.id).slice(0, 6).join(', ');
    throw new CochleaError('usage', id === undefined ? `${name} has more than one SAE` : `${name} has no SAE ${JSON.stringify(id.slice(0, 80))}`, `its ids: ${ids}`);
  }
  if (release.repo === null) throw new CochleaError('fetch', `the repository of ${name} is not known here`, 'give its name on the Hub in the place of the release');
  const { pattern } = found, values = found.values!;
  const layer = values.get('layer');
  const perLayer = (numbers: PerLayer | undefined): number | undefined => (numbers && layer !== undefined ? numbers[Number(layer)] : undefined);
  const l0 = perLayer(pattern.l0);
  if (l0 !== undefined) values.set('l0', String(l0));
  values.set('id', id);
  const path = filled(pattern.path ?? '{id}', values);
  const hook = pattern.hook ?? release.hook;
  const scale = typeof pattern.scale === 'number' ? pattern.scale : perLayer(pattern.scale);
  return {
    repo: release.repo, path, licence: release.licence, files: loaderNamed(release.loader).files(path),
    options: {
      loader: release.loader, ...(scale === undefined ? {} : { scale }), ...(release.overrides ? { overrides: release.overrides } : {}),
      metadata: { model_name: release.model, ...(hook === null ? {} : { hook_name: filled(hook, values) }), release: name, sae_id: id },
    },
  };
}

const placeholder = /\{(\w+)(?::([^}]*))?\}/g;

/** The values of a pattern's placeholders; undefined when the id is none of the pattern's. */
function match(pattern: string, id: string): Map<string, string> | undefined {
  const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  let source = '', end = 0;
  const kinds: { name: string; range: string | undefined }[] = [];
  for (const found of pattern.matchAll(placeholder)) {
    source += `${literal(pattern.slice(end, found.index))}(\\w+)`;
    end = found.index + found[0].length;
    kinds.push({ name: found[1]!, range: found[2] });
  }
  const groups = new RegExp(`^${source}${literal(pattern.slice(end))}$`).exec(id);
  if (!groups || !kinds.every(({ range }, n) => isIn(groups[n + 1]!, range))) return undefined;
  return new Map(kinds.map(({ name }, n) => [name, groups[n + 1]!]));
}

function isIn(value: string, range: string | undefined): boolean {
  const isNumber = /^(0|[1-9]\d*)$/.test(value);
  if (range === undefined) return isNumber;
  const [, from, to] = /^(\d+)-(\d+)$/.exec(range) ?? [];
  return from === undefined ? range.split('|').includes(value) : isNumber && Number(value) >= Number(from) && Number(value) <= Number(to);
}

function filled(template: string, values: ReadonlyMap<string, string>): string {
  return template.replace(/\{(\w+)(-1)?\}/g, (_, name: string, less) => (less ? String(Number(values.get(name)) - 1) : values.get(name)!));
}
