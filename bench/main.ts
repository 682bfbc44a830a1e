/**
 * `npm run bench [-- options]`: the encoder's matrix product in every variant, whole TopK training steps beside it, and with --scaling how a step's time
 * grows with d_sae, on the adapter at hand.
 */
import process from 'node:process';
import { enter } from './entry.ts';
import { parseArgs } from 'node:util';
import { CochleaError } from '../src/errors.ts';
import { Gpu } from '../src/gpu/index.ts';
import { ensureAdapter } from '../src/runtime/adapters.ts';
import { measureProducts, type ProductResult } from './products.ts';
import { measureScaling, measureSteps, type ScalingResult, type Size, type StepResult } from './steps.ts';
import { judgedBy, type Spread, type TakenOn, type Timing } from './timing.ts';

const usage = `usage: npm run bench -- [options]
  --sizes NAME    standard (default), or small for a quick look
  --scaling       rows a second times d_sae from d_sae 4096 to 65,536 at d_in 384, instead of products and steps
  --rows N        rows of a batch (default: those of the size, 4096 in the standard ones)
  --turns N       turns of each at least (default: 3)
  --json          one JSON object on stdout
`;

const sizes: Record<string, Size[]> = {
  standard: [{ dIn: 384, dSae: 3072, batch: 4096, k: 32 }, { dIn: 768, dSae: 24_576, batch: 4096, k: 32 }],
  small: [{ dIn: 288, dSae: 1152, batch: 512, k: 32 }],
};
const scalingSizes: Record<string, Size[]> = {
  standard: [4096, 8192, 16_384, 32_768, 65_536].map((dSae) => ({ dIn: 384, dSae, batch: 4096, k: 32 })),
  small: [1024, 2048, 4096].map((dSae) => ({ dIn: 128, dSae, batch: 256, k: 32 })),
};
/** Seconds after which no turn of a comparison begins, once there are enough. */
const budget = 20;

function readOptions() {
  const parse = () => {
    try {
      return parseArgs({
        options: {
          sizes: { type: 'string', default: 'standard' }, scaling: { type: 'boolean', default: false }, rows: { type: 'string' }, turns: { type: 'string', default: '3' },
          json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
        },
      }).values;
    } catch (error) {
      throw new CochleaError('usage', (error as Error).message, usage);
    }
  };
  const values = parse();
  const count = (name: string, value: string): number => {
    if (!/^[1-9]\d*$/.test(value)) throw new CochleaError('usage', `--${name} is ${value}`, 'it must be a positive whole number');
    return Number(value);
  };
  const named = (values.scaling ? scalingSizes : sizes)[values.sizes];
  if (!named) throw new CochleaError('usage', `--sizes is ${values.sizes}`, `it must be one of ${Object.keys(sizes).join(', ')}`);
  const rows = values.rows === undefined ? undefined : count('rows', values.rows);
  return { ...values, sizes: named.map((size) => ({ ...size, batch: rows ?? size.batch })), turns: { atLeast: count('turns', values.turns), budget } };
}

const seconds = ({ median, least, most }: Spread): string => `${median.toPrecision(3)} (${least.toPrecision(3)} to ${most.toPrecision(3)})`;
const times = ({ wall, cpu }: Timing, { software }: TakenOn): string => `s wall ${seconds(wall)}${software ? `, CPU ${seconds(cpu)}` : ''}`;

function productLines({ rows, variants }: ProductResult, on: TakenOn): string {
  return Object.entries(variants).map(([name, { gflops, timing }]) => `  encode ${name.padEnd(12)} ${gflops.toFixed(2)} GFLOP/s on ${rows} rows   ${times(timing, on)}`).join('\n');
}

function stepLines({ rowsPerSecond, deadLatents, ratio, timing }: StepResult, on: TakenOn): string {
  const clock = judgedBy(on);
  const of = (which: 'idle' | 'dead'): string => (
    `${Math.round(rowsPerSecond[which])} rows/s, ${ratio[clock][which].toFixed(2)} x its encoder product${clock === 'cpu' ? ' by CPU time' : ''}   ${times(timing[which], on)}`
  );
  return [
    `  encoder product of the whole batch   ${times(timing.product, on)}`,
    `  step, no latent dead: ${of('idle')}`,
    `  step, ${deadLatents} latents dead: ${of('dead')}`,
  ].join('\n');
}

function scalingLines({ sizes: found, evenness }: ScalingResult, on: TakenOn): string {
  const clock = judgedBy(on);
  return [
    ...found.map(({ dSae, rowsPerSecond, work, timing }) => [
      `  d_sae ${String(dSae).padStart(6)}`, `${rowsPerSecond.toFixed(0).padStart(8)} rows/s`,
      `${work[clock].toExponential(3)} rows x d_sae per ${clock === 'cpu' ? 'CPU second' : 'second'}`, times(timing, on),
    ].join('   ')),
    `  least over most: ${evenness[clock].toFixed(3)}`,
  ].join('\n');
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(usage);
    return;
  }
  const { line } = await ensureAdapter();
  const gpu = await Gpu.open();
  const { adapter } = gpu;
  const say = (text: string): void => {
    if (!options.json) process.stdout.write(`${text}\n`);
  };
  const result: { adapter: typeof adapter; sizes?: (ProductResult & StepResult)[]; scaling?: ScalingResult; variants?: Record<string, string> } = { adapter };
  say(line);
  if (options.scaling) {
    result.scaling = await measureScaling(gpu, options.sizes, options.turns);
    say(`TopK steps, d_in ${result.scaling.dIn}, batch ${result.scaling.batch}, k ${result.scaling.k}\n${scalingLines(result.scaling, adapter)}`);
  } else {
    result.sizes = [];
    for (const size of options.sizes) {
      say(`d_in ${size.dIn}, d_sae ${size.dSae}, batch ${size.batch}, k ${size.k}`);
      const products = await measureProducts(gpu, size, { ...options.turns, budget: budget / 2 });
      say(productLines(products, adapter));
      const steps = await measureSteps(gpu, size, options.turns);
      say(stepLines(steps, adapter));
      result.sizes.push({ ...products, ...steps });
    }
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ ...result, variants: Object.fromEntries(gpu.variants) })}\n`);
  gpu.dispose();
}

await enter(main);
