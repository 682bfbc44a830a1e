/** The options of `train` that come from the architectures' tables of fields: parsing, help, and whose they are. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { architectureOf, architectures, baseFields, CochleaError, type Field, trainedArchitectures } from '../../src/index.ts';

/** What a field that may be null is told on a command line to be null. */
const none = 'none';

/** Defaults of the command where they are not SAELens'. What is off unless given stays off. */
const ownDefaults: Record<string, unknown> = { k: 32, normalize_activations: 'expected_average_only_in' };
const defaultValue = (name: string, field: Field): unknown => (field.default === null ? null : ownDefaults[name] ?? field.default);

/** Fields that have other flags, or that follow from the data. */
const elsewhere = new Set(['d_in', 'd_sae', 'd_out']);

type Fields = [name: string, field: Field][];
const ownFields = (architecture: string): Fields => (Object.entries(architectureOf(architecture).fields) as Fields).filter(([name]) => !elsewhere.has(name));
const sharedFields: Fields = Object.entries(baseFields).filter(([name]) => !elsewhere.has(name));

const dashed = (name: string): string => name.replaceAll('_', '-').toLowerCase();
const attribute = (name: string): string => dashed(name).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());

/** Adds every field of every architecture once; help lists them by architecture. */
export function withArchitectureOptions(command: Command): Command {
  command.addOption(new Option('--arch <architecture>', 'architecture: see below').choices([...trainedArchitectures]).default('topk'));
  for (const [name, field] of sharedFields) command.addOption(optionOf(name, field));
  const added = new Set(sharedFields.map(([name]) => name));
  for (const architecture of trainedArchitectures) {
    for (const [name, field] of ownFields(architecture)) {
      if (!added.has(name)) command.addOption(optionOf(name, field).hideHelp());
      added.add(name);
    }
  }
  return command.addHelpText('after', () => `\n${helpOf(askedFor(process.argv))}`);
}

function optionOf(name: string, field: Field): Option {
  if (field.kind === 'boolean') {
    return field.default ? new Option(`--no-${dashed(name)}`, `do not ${field.help}`) : new Option(`--${dashed(name)}`, field.help);
  }
  const option = new Option(`--${dashed(name)} <${placeholder(field)}>`, `${field.help}${defaultOf(name, field)}`);
  return field.kind === 'choice' ? option.choices([...field.choices]) : option.argParser((text) => parse(text, field));
}

function placeholder({ kind }: Field): string {
  return { integer: 'n', number: 'x', boolean: '', choice: 'name', integers: 'n,n,...' }[kind];
}

function defaultOf(name: string, field: Field): string {
  const value = defaultValue(name, field);
  if (value === null) return field.nullable ? ' (none unless given)' : '';
  return Array.isArray(value) ? (value.length > 0 ? ` (default: ${value.join(',')})` : '') : ` (default: ${JSON.stringify(value)})`;
}

function parse(text: string, field: Field): unknown {
  if (field.nullable && text === none) return none; // commander makes '' of null
  const numbers = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (numbers.some(Number.isNaN)) throw new InvalidArgumentError(field.kind === 'integers' ? 'It must be numbers with commas between them.' : `It must be a number${field.nullable ? ', or "none"' : ''}.`);
  return field.kind === 'integers' ? numbers : numbers.length === 1 ? numbers[0] : NaN;
}

/** The architecture that a command line names, for `train --arch gated --help`. */
function askedFor(argv: readonly string[]): string | undefined {
  const at = argv.findIndex((word) => word === '--arch' || word.startsWith('--arch='));
  const name = argv[at]?.includes('=') ? argv[at].slice('--arch='.length) : argv[at + 1];
  return at >= 0 && trainedArchitectures.includes(name!) ? name : undefined;
}

function helpOf(asked: string | undefined): string {
  if (asked === undefined) {
    const titles = trainedArchitectures.map((name) => `  ${name.padEnd(30)} ${architectures.get(name)!.title}`);
    return ['Architectures; `cochlea train --arch NAME --help` lists the options that only NAME has:', ...titles].join('\n');
  }
  const rows = ownFields(asked).map(([name, field]) => {
    const negated = field.kind === 'boolean' && field.default;
    const choices = field.kind === 'choice' ? ` (${field.choices.join(', ')})` : '';
    return `  --${negated ? 'no-' : ''}${dashed(name).padEnd(36)} ${negated ? 'do not ' : ''}${field.help}${choices}${field.kind === 'boolean' ? '' : defaultOf(name, field)}`;
  });
  return [`${asked}: ${architectures.get(asked)!.title}`, 'Options that only some architectures have, and this one does:', ...rows].join('\n');
}

/** The architecture fields among a command's flags that were given, on the command line or in a file, by attribute. */
export function givenFields(command: Command): Record<string, unknown> {
  const attributes = [...sharedFields, ...trainedArchitectures.flatMap(ownFields)].map(([name]) => attribute(name));
  return Object.fromEntries([...new Set(attributes)].flatMap((name) => {
    const source = command.getOptionValueSource(name);
    return source === undefined || source === 'default' ? [] : [[name, command.getOptionValue(name) as unknown]];
  }));
}

/**
 * An architecture's fields: the command's own defaults, what was given for all (where the architecture has it), and what was given for it. Throws
 * `usage` for one of the last kind that belongs to other architectures.
 */
export function architectureFields(architecture: string, { forAll = {}, forIt }: { forAll?: Record<string, unknown>; forIt: Record<string, unknown> }): Record<string, unknown> {
  const own = new Map([...sharedFields, ...ownFields(architecture)]);
  const fixed = architectureOf(architecture).base ?? {};
  const fields: Record<string, unknown> = {};
  for (const name of Object.keys(ownDefaults)) if (own.has(name) && !(name in fixed)) fields[name] = defaultValue(name, own.get(name)!);
  for (const name of new Set([...sharedFields, ...trainedArchitectures.flatMap(ownFields)].map(([one]) => one))) {
    const key = attribute(name);
    if (key in forIt && !own.has(name)) throw foreign(name, architecture);
    const given = key in forIt ? forIt : own.has(name) ? forAll : {};
    if (key in given) fields[name] = given[key] === none && own.get(name)!.nullable ? null : given[key];
  }
  return fields;
}

/** Flags that do nothing beside an architecture's other fields, by attribute, each with what they go with. Transcoders keep k latents or have a penalty. */
export function idleFields(architecture: string, fields: Record<string, unknown>): Record<string, string> {
  if (!['transcoder', 'skip_transcoder'].includes(architecture)) return {};
  const withK = (fields['k'] ?? null) !== null;
  const names = withK ? ['l1_coefficient', 'lp_norm', 'l1_warm_up_steps'] : ['aux_loss_coefficient', 'topk_threshold_lr'];
  return Object.fromEntries(names.map((name) => [attribute(name), withK ? 'without --k' : 'with --k']));
}

/** Whether a flag, by its attribute, is a field of some architecture. */
export const isArchitectureFlag = (key: string): boolean => [...sharedFields, ...trainedArchitectures.flatMap(ownFields)].some(([name]) => attribute(name) === key);

/** Whether an architecture has the field behind a flag, by its attribute. */
export const architectureHas = (architecture: string, key: string): boolean => [...sharedFields, ...ownFields(architecture)].some(([name]) => attribute(name) === key);

function foreign(name: string, architecture: string): CochleaError {
  const owners = trainedArchitectures.filter((one) => ownFields(one).some(([field]) => field === name));
  return new CochleaError('usage', `--${dashed(name)} is no option of --arch ${architecture}`, `it belongs to ${owners.join(', ')}`);
}
