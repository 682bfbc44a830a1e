/** Every architecture, one line each. */
import { CochleaError } from '../../errors.ts';
import type { SaelensConfig } from '../../formats/index.ts';
import type { Architecture, BaseConfig, InferenceContext, InferenceForm } from '../architecture.ts';
import { configOf } from '../config.ts';
import { abstopk } from './abstopk.ts';
import { batchtopk } from './batchtopk.ts';
import { gated } from './gated.ts';
import { jumprelu } from './jumprelu.ts';
import { matchingPursuit } from './matching-pursuit.ts';
import { matryoshka } from './matryoshka.ts';
import { standard } from './standard.ts';
import { temporal } from './temporal.ts';
import { temporalMatryoshka } from './temporal-matryoshka.ts';
import { groupmax, topk } from './topk.ts';
import { jumpreluSkipTranscoder, jumpreluTranscoder, skipTranscoder, transcoder } from './transcoder.ts';

/** The types of their configurations differ; who looks one up by its name knows it as a BaseConfig. */
const all = [
  standard, gated, jumprelu, topk, groupmax, abstopk, batchtopk, matryoshka, temporalMatryoshka, matchingPursuit, temporal,
  transcoder, skipTranscoder, jumpreluTranscoder, jumpreluSkipTranscoder,
] as unknown as readonly Architecture[];

export const architectures: ReadonlyMap<string, Architecture> = new Map(all.map((architecture) => [architecture.name, architecture]));

/** Names of the architectures that can be trained, and of those that can be run. */
export const trainedArchitectures = all.filter(({ train }) => train).map(({ name }) => name);
export const inferenceArchitectures = all.filter(({ infer }) => infer).map(({ name }) => name);

/** Throws `config` for a name that nobody has. */
export function architectureOf(name: string): Architecture {
  const found = architectures.get(name);
  if (!found) throw new CochleaError('config', `there is no architecture ${JSON.stringify(name)}`, `these are: ${[...architectures.keys()].join(', ')}`);
  return found;
}

/** A configuration for training, of the architecture that it names; see configOf. */
export function saeConfig<C extends BaseConfig = BaseConfig>(fields: Partial<C> & Pick<C, 'architecture' | 'd_in' | 'd_sae'>): C {
  return configOf(architectureOf(fields.architecture) as unknown as Architecture<C>, fields);
}

/** What runs an SAE of this configuration. Throws `config` when nothing does. */
export function inferenceOf(config: SaelensConfig): (context: InferenceContext) => InferenceForm {
  const infer = architectures.get(config.architecture)?.infer;
  if (!infer) throw new CochleaError('config', `SAEs of architecture ${config.architecture} cannot be run`, `these can: ${inferenceArchitectures.join(', ')}`);
  return infer;
}
