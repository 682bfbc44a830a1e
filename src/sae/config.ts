/** SAE configurations under SAELens' field names: defaults and checks from an architecture's table of fields. */
import { CochleaError } from '../errors.ts';
import { rowNormalisations } from '../kernels/index.ts';
import type { Architecture, BaseConfig, Field } from './architecture.ts';

/** What all architectures share; an architecture's `base` has other defaults where it needs them. */
export const baseFields = {
  d_in: { kind: 'integer', default: null, least: 1, help: 'numbers in a frame' },
  d_sae: { kind: 'integer', default: null, least: 1, help: 'number of latents' },
  apply_b_dec_to_input: { kind: 'boolean', default: true, help: 'subtract b_dec before encoding' },
  normalize_activations: {
    kind: 'choice', default: 'none', choices: ['none', 'expected_average_only_in', ...Object.keys(rowNormalisations).slice(1)],
    help: 'scale frames to a mean norm of sqrt(d_in), or normalise each frame',
  },
  decoder_init_norm: { kind: 'number', default: 0.1, above: 0, nullable: true, help: 'length of decoder rows at the start' },
} as const satisfies Record<Exclude<keyof BaseConfig, 'architecture'>, Field>;

/** A configuration whose missing fields are filled in. Throws `config` for values that cannot be; fields that the architecture does not have are left out. */
export function configOf<C extends BaseConfig>(architecture: Architecture<C>, given: Pick<C, 'd_in' | 'd_sae'> & Partial<C>): C {
  const fields: Record<string, Field> = { ...baseFields, ...architecture.fields };
  const config: Record<string, unknown> = { architecture: architecture.name };
  const values = given as Record<string, unknown>;
  const base = (architecture.base ?? {}) as Record<string, unknown>;
  for (const [name, field] of Object.entries(fields)) {
    const value = values[name] === undefined ? base[name] ?? field.default : values[name];
    const must = problemOf(value, field);
    if (must) refuse(name, value, must);
    config[name] = value;
  }
  architecture.check?.(config as unknown as C);
  return config as unknown as C;
}

/** Throws `config`: the field, its value, what it must be. */
export function refuse(name: string, value: unknown, must: string): never {
  throw new CochleaError('config', `${name} is ${typeof value === 'number' ? value : JSON.stringify(value)}`, `it must be ${must}`);
}

/** What a value of this field must be, when this one is not; undefined when it is right. */
function problemOf(value: unknown, field: Field): string | undefined {
  if (value === null && field.nullable) return undefined;
  const or = field.nullable ? ' or null' : '';
  switch (field.kind) {
    case 'boolean': return typeof value === 'boolean' ? undefined : 'true or false';
    case 'choice': return field.choices.includes(value as string) ? undefined : `one of ${field.choices.join(', ')}`;
    case 'integers': return Array.isArray(value) && value.every((one) => Number.isSafeInteger(one) && one > 0) ? undefined : 'a list of positive whole numbers';
    default: return numberProblem(value, field, or);
  }
}

function numberProblem(value: unknown, field: Extract<Field, { kind: 'integer' | 'number' }>, or: string): string | undefined {
  const { kind, above, least, most } = field;
  const right = typeof value === 'number' && (kind === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value))
    && (above === undefined || value > above) && (least === undefined || value >= least) && (most === undefined || value <= most);
  if (right) return undefined;
  const what = kind === 'integer' ? 'whole number' : 'number';
  const ceiling = most === undefined ? '' : `, at most ${most}`;
  if (above === 0 || (least === 1 && kind === 'integer')) return `a positive ${what}${ceiling}${or}`;
  if (least === 0) return `zero or a positive ${what}${ceiling}${or}`;
  return `a ${what}${above === undefined ? '' : ` above ${above}`}${least === undefined ? '' : ` of at least ${least}`}${ceiling}${or}`;
}

/** What the SAE itself does to each row. expected_average_only_in is a scale that the trainer applies. */
export function rowNormalisation(normalizeActivations: string): keyof typeof rowNormalisations {
  if (normalizeActivations === 'expected_average_only_in') return 'none';
  if (Object.hasOwn(rowNormalisations, normalizeActivations)) return normalizeActivations as keyof typeof rowNormalisations;
  return refuse('normalize_activations', normalizeActivations, `one of ${baseFields.normalize_activations.choices.join(', ')}`);
}
