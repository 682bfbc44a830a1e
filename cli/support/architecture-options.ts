/** The options of `train` that come from the architectures' tables of fields: parsing, help, and whose they are. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { architectureOf, architectures, baseFields, CochleaError, type Field, trainedArchitectures } from '../../src/index.ts';

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
  if (field.nullable && text === 'none') return null;
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

/** The fields that were given for this architecture, and the command's own defaults. Throws `usage` for a flag of other architectures. */
export function architectureFields(command: Command, architecture: string): Record<string, unknown> {
  const own = new Map([...sharedFields, ...ownFields(architecture)]);
  const fields: Record<string, unknown> = {};
  for (const name of Object.keys(ownDefaults)) if (own.has(name)) fields[name] = defaultValue(name, own.get(name)!);
  const fixed = architectureOf(architecture).base ?? {};
  for (const name of Object.keys(fixed)) delete fields[name];
  for (const name of new Set([...sharedFields, ...trainedArchitectures.flatMap(ownFields)].map(([one]) => one))) {
    const source = command.getOptionValueSource(attribute(name));
    if (source === undefined || source === 'default') continue;
    if (!own.has(name)) throw foreign(name, architecture);
    fields[name] = command.getOptionValue(attribute(name));
  }
  return fields;
}

function foreign(name: string, architecture: string): CochleaError {
  const owners = trainedArchitectures.filter((one) => ownFields(one).some(([field]) => field === name));
  return new CochleaError('usage', `--${dashed(name)} is no option of --arch ${architecture}`, `it belongs to ${owners.join(', ')}`);
}
