/**
 * The model card of published SAEs: README.md with a YAML head, written from what the folders themselves say. What is not known is left out. One section per SAE
 * lies between comments, so that publishing another one later, or this one again, leaves the rest of the text as people wrote it.
 */
import { CochleaError } from '../../errors.ts';
import type { Json, SaelensConfig } from '../../formats/index.ts';
import { runtime } from '../../runtime/index.ts';
import { readMetrics, type StepMetrics } from '../../training/index.ts';

const { files, paths } = runtime;

/** What is known of an SAE besides its weights. */
export interface SaeFacts {
  /** Its folder in the repository. */
  name: string;
  config: SaelensConfig;
  /** run.json. */
  run: Record<string, Json> | undefined;
  /** Of the last step. */
  final: StepMetrics | undefined;
  /** What `cochlea eval --json` printed, where somebody kept it as evaluation.json. */
  evaluation: Scores | undefined;
}

interface Scores {
  frames: number;
  clips: number;
  metrics: Record<string, { value: number | null }>;
  intervals?: Record<string, { low: number | null; high: number | null }>;
}

/** Reads what lies beside an SAE's weights. Throws `file-damaged` for a record that is not what it should be. */
export async function readFacts(folder: string, name: string, config: SaelensConfig): Promise<SaeFacts> {
  const metricsPath = paths.join(folder, 'metrics.jsonl');
  const evaluation = await readJson(paths.join(folder, 'evaluation.json')) as Scores | undefined;
  if (evaluation && !isScores(evaluation)) throw new CochleaError('file-damaged', `${paths.join(folder, 'evaluation.json')} is not what \`cochlea eval --json\` prints`, 'write it again, or take it away');
  return {
    name, config, evaluation,
    run: await readJson(paths.join(folder, 'run.json')),
    final: await files.info(metricsPath) ? (await readMetrics(metricsPath)).at(-1) : undefined,
  };
}

async function readJson(path: string): Promise<Record<string, Json> | undefined> {
  if (!await files.info(path)) return undefined;
  try {
    const value = JSON.parse(await files.readText(path)) as Json;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    if (error instanceof CochleaError) throw error;
  }
  throw new CochleaError('file-damaged', `${path} is not a JSON object`, 'take it away to publish without what it says');
}

const isScores = ({ frames, clips, metrics }: Scores): boolean => typeof frames === 'number' && typeof clips === 'number' && typeof metrics === 'object' && metrics !== null;

export interface CardOptions {
  repo: string;
  saes: readonly SaeFacts[];
  /** An id of the Hub, such as mit. */
  licence?: string | undefined;
  /** Ids of data sets on the Hub. */
  datasets?: readonly string[] | undefined;
  /** Id on the Hub of the model whose activations these are; that of the SAEs where they name one. */
  baseModel?: string | undefined;
}

/** The text of README.md; `existing` is what the repository has there. */
export function modelCard({ repo, saes, licence, datasets = [], baseModel }: CardOptions, existing = ''): string {
  const { head, body } = split(existing.replaceAll('\r\n', '\n'));
  const models = baseModel === undefined ? [...new Set(saes.map(({ config }) => config.metadata['model_name']))].filter(isHubId) : [baseModel];
  const isAudio = saes.some(({ config }) => config.metadata['sample_rate'] !== undefined);
  const block = (key: string, values: readonly string[]): [string, string[]][] => (values.length === 0 ? [] : [[key, [`${key}:`, ...values.map((value) => `- ${yaml(value)}`)]]]);
  const merged = new Map(head);
  const listed = (key: string, values: readonly string[]): void => {
    const before = readList(merged.get(key));
    // What cannot be read is somebody's own way to write it, and stays.
    if (before) for (const [name, lines] of block(key, [...new Set([...before, ...values])])) merged.set(name, lines);
  };
  if (!merged.has('library_name')) merged.set('library_name', ['library_name: saelens']);
  if (licence !== undefined) merged.set('license', [`license: ${yaml(licence)}`]);
  listed('tags', ['saelens', 'sparse-autoencoder', 'interpretability', ...(isAudio ? ['audio'] : [])]);
  listed('datasets', datasets);
  if (baseModel !== undefined || !merged.has('base_model')) listed('base_model', models);
  const top = ['---', ...[...merged.values()].flat(), '---', ''].join('\n');
  const sections = saes.map((facts): [string, string] => [facts.name, section(facts, repo)]);
  return `${top}\n${withSections(body.trim() === '' ? introduction(repo) : body, sections).trim()}\n`;
}

const isHubId = (value: Json | undefined): value is string => typeof value === 'string' && /^[\w.-]+\/[\w.-]+$/.test(value);

/** The head by its top-level keys, each with the lines that belong to it, and what follows it. */
function split(text: string): { head: Map<string, string[]>; body: string } {
  const match = /^---\n([\s\S]*?)\n---[ \t]*(?:\n|$)/.exec(text);
  const head = new Map<string, string[]>();
  if (!match) return { head, body: text };
  let key = '';
  for (const line of match[1]!.split('\n')) {
    const start = /^([A-Za-z_][\w-]*):/.exec(line)?.[1];
    if (start !== undefined) key = start;
    head.set(key, [...(head.get(key) ?? []), line]);
  }
  return { head, body: text.slice(match[0].length) };
}

/** The values of `key: a`, `key: [a, b]` or a list below the key; undefined for anything else. */
function readList(lines: readonly string[] | undefined): string[] | undefined {
  if (!lines) return [];
  const [first, ...rest] = lines.filter((line) => line.trim() !== '');
  const inline = first!.slice(first!.indexOf(':') + 1).trim();
  const items = inline === '' ? rest.map((line) => /^\s*- (.*)$/.exec(line)?.[1]) : rest.length > 0 ? [undefined] : /^\[.*\]$/.test(inline) ? inline.slice(1, -1).split(',') : [inline];
  const plain = items.map((item) => /^\s*(?:"([^"\\]*)"|'([^']*)'|([\w][\w ./+-]*))\s*$/.exec(item ?? '')).map((match) => match?.[1] ?? match?.[2] ?? match?.[3]?.trim());
  return plain.every((item) => item !== undefined) ? plain : undefined;
}

/** A scalar of YAML; quoted where it would be read as something else than this text. */
function yaml(text: string): string {
  return /^[A-Za-z][\w./-]*$/.test(text) && !/^(y|n|yes|no|true|false|on|off|null)$/i.test(text) ? text : JSON.stringify(text);
}

const introduction = (repo: string): string => `# ${repo.split('/').at(-1)}\n\nSparse autoencoders in SAELens' layout, one folder each.\n`;

const begin = (name: string): string => `<!-- cochlea: ${name} -->`;
const end = (name: string): string => `<!-- /cochlea: ${name} -->`;

/** Puts sections in the place of those of the same name, and new ones at the end. */
function withSections(body: string, sections: readonly (readonly [string, string])[]): string {
  let text = body;
  for (const [name, content] of sections) {
    const whole = `${begin(name)}\n${content}\n${end(name)}`;
    const from = text.indexOf(begin(name)), to = text.indexOf(end(name), from);
    text = from >= 0 && to >= 0 ? text.slice(0, from) + whole + text.slice(to + end(name).length) : `${text.trimEnd()}\n\n${whole}\n`;
  }
  return text;
}

/** Text of a table's cell: what a configuration says must not become markup. */
const cell = (value: Json | undefined): string => (typeof value === 'string' ? value : JSON.stringify(value)).replace(/[\\|<>&`*_[\]#]/g, (mark) => `&#${mark.charCodeAt(0)};`).replace(/\s+/g, ' ');

const rounded = (value: number): string => String(Number(value.toPrecision(4)));

function section({ name, config, run, final, evaluation }: SaeFacts, repo: string): string {
  const { metadata } = config;
  const known = (label: string, value: Json | undefined, unit = ''): string[][] => (value === undefined || value === null ? [] : [[label, `${cell(value)}${unit}`]]);
  const numbers = (label: string, value: Json | undefined, unit = ''): string[][] => (typeof value === 'number' ? known(label, rounded(value), unit) : []);
  const adapter = run?.['adapter'] as Record<string, Json> | undefined;
  const activations = run?.['activations'] as Record<string, Json> | undefined;
  const rows = [
    ...known('model', metadata['model_name']), ...known('model from', metadata['model_source']), ...known('hook point', metadata['hook_name']), ...known('predicts', metadata['hook_name_out']), ...known('layer', metadata['layer']),
    ...known('architecture', metadata['training_architecture'] === config.architecture || metadata['training_architecture'] === undefined ? config.architecture : `${config.architecture}, trained as ${metadata['training_architecture']}`),
    ...known('d_in', config.d_in), ...known('d_sae', config.d_sae), ...known('k', config['k']), ...known('dtype', config.dtype),
    ...numbers('frames per second', metadata['frame_rate']), ...known('sample rate', metadata['sample_rate'], ' Hz'),
    ...numbers('L0 in training', metadata['l0']), ...known('dead latents in training', metadata['num_dead_features']),
    ...known('steps', final?.step), ...numbers('explained variance of the last batch', final?.explainedVariance),
    ...known('SHA-256 of the model', metadata['model_sha256'] ?? activations?.['modelSha256']), ...known('SHA-256 of the data', metadata['data_sha256'] ?? activations?.['dataSha256']),
    ...known('trained on', adapter?.['description'] || adapter?.['vendor']), ...known('cochlea', run?.['cochlea']),
  ];
  const parts = [`## ${name}`, ['| | |', '|---|---|', ...rows.map(([label, value]) => `| ${label} | ${value} |`)].join('\n')];
  if (evaluation) parts.push(scores(evaluation));
  const flags = publicFlags(run);
  if (flags) parts.push(`Trained by \`cochlea ${cell(run!['command'])} --config settings.json\`, where settings.json is`, `\`\`\`json\n${flags}\n\`\`\``);
  parts.push(`\`\`\`\ncochlea pull ${repo} ${name}\n\`\`\``);
  if (inSaelens.has(config.architecture)) parts.push(`\`\`\`python\nfrom sae_lens import SAE\n\nsae = SAE.from_pretrained("${repo}", "${name}")\n\`\`\``);
  return parts.join('\n\n');
}

/** Of SAELens 6.18. */
const inSaelens = new Set(['standard', 'gated', 'topk', 'jumprelu', 'transcoder', 'skip_transcoder', 'jumprelu_transcoder']);

function scores({ frames, clips, metrics, intervals = {} }: Scores): string {
  const rows = Object.entries(metrics).filter(([, metric]) => typeof metric?.value === 'number').map(([name, metric]) => {
    const { low, high } = intervals[name] ?? { low: null, high: null };
    return `| ${cell(name)} | ${rounded(metric.value!)} | ${low === null || high === null ? '' : `${rounded(low)} to ${rounded(high)}`} |`;
  });
  return [`On ${frames} frames of ${clips} clips (\`cochlea eval\`):`, '', '| metric | value | 95 % interval |', '|---|---|---|', ...rows].join('\n');
}

/** Flags that say where things lay or what was printed, and nothing of the SAE. */
const privateFlags = new Set(['out', 'resume', 'quiet', 'json', 'verbose', 'config']);

/** The flags of the run as JSON that --config takes, with the names of files in the place of paths on somebody's machine. */
function publicFlags(run: Record<string, Json> | undefined): string | undefined {
  const flags = run?.['flags'];
  if (typeof flags !== 'object' || flags === null || Array.isArray(flags) || typeof run!['command'] !== 'string') return undefined;
  const bare = (value: Json): Json => (Array.isArray(value) ? value.map(bare) : typeof value === 'string' && (/[/\\]/.test(value) || value.startsWith('~')) ? value.split(/[/\\]/).filter((part) => part !== '').at(-1) ?? '' : value);
  return JSON.stringify(Object.fromEntries(Object.entries(flags).filter(([name]) => !privateFlags.has(name)).map(([name, value]) => [name, bare(value)])), null, 2);
}
