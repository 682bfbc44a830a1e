/** The comparison as a program and as a person reads it. */
import type { AdapterSummary } from '../../src/gpu/index.ts';
import { judgedBy, type Spread, type TakenOn } from '../timing.ts';
import type { Engines } from './engines.ts';
import { engineNames, type GemmResult } from './gemm.ts';
import { stepNames, type StepName, type StepResult } from './step.ts';
import type { TorchResult } from './torch.ts';

const seconds = ({ median, least, most }: Spread): string => `${median.toPrecision(3)} s (${least.toPrecision(3)} to ${most.toPrecision(3)})`;

/** A line per engine: speed by the clock, and the seconds it is from; on a software adapter the CPU seconds, which say more there. */
export function gemmTable(result: GemmResult, on: TakenOn): string {
  const { m, k, n, rows, ratio, timing, form, difference } = result;
  const lines = engineNames.map((name) => (
    `  ${name.padEnd(8)} ${result[name].toFixed(2).padStart(9)} GFLOP/s   W ${form[name]}   wall ${seconds(timing[name].wall)}${on.software ? `   CPU ${seconds(timing[name].cpu)}` : ''}`
  ));
  const clock = judgedBy(on);
  const verdict = clock === 'cpu' ? `CPU time, ${ratio.wall.toFixed(2)} by the clock` : 'the clock';
  return [
    `product ${m} x ${k} x ${n}${rows < m ? ` (measured on ${rows} of ${m} rows)` : ''}, ${timing.cochlea.wall.runs} turns`, ...lines,
    `  cochlea is ${ratio[clock]!.toFixed(2)} times as fast as the faster peer by ${verdict}; results differ by ${difference.toExponential(1)}`,
  ].join('\n');
}

const stepTitles: Record<StepName, string> = { cochleaTopk: 'cochlea, TopK', cochleaStandard: 'cochlea, dense ReLU', jaxjsStandard: 'jax-js, dense ReLU' };

export function stepTable(result: StepResult, on: TakenOn): string {
  const { dIn, dSae, batch, k, rows, ratio, timing } = result;
  const lines = stepNames.map((name) => (
    `  ${stepTitles[name].padEnd(20)} ${result[name].toFixed(0).padStart(9)} rows/s   wall ${seconds(timing[name].wall)}${on.software ? `   CPU ${seconds(timing[name].cpu)}` : ''}`
  ));
  const clock = judgedBy(on);
  const { standard, topk } = ratio[clock]!;
  return [
    `training step, d_in ${dIn}, d_sae ${dSae}, k ${k}, batch ${batch}${rows < batch ? ` (measured with ${rows} rows)` : ''}, ${timing.cochleaTopk.wall.runs} turns`, ...lines,
    `  by ${clock === 'cpu' ? 'CPU time' : 'the clock'} cochlea's dense step is ${standard.toFixed(2)} times as fast as jax-js' (same losses), its TopK step ${topk.toFixed(2)} times`,
  ].join('\n');
}

type Torch = TorchResult | { absent: string };

/** cochlea's TopK step over torch's, where both took the whole batch. */
function overTorch(torch: Torch, { dIn, dSae, k, batch, rows, cochleaTopk }: StepResult): Record<'float32' | 'tf32', number> | null {
  const same = 'step' in torch ? torch.step.find((one) => one.dIn === dIn && one.dSae === dSae && one.k === k && one.batch === rows) : undefined;
  return same && rows === batch ? { float32: cochleaTopk / same.float32.rowsPerSecond, tf32: cochleaTopk / same.tf32.rowsPerSecond } : null;
}

/** What --json prints; `variants` is what cochlea ran of each kernel family. `torch` is null where there is none, with the reason in `torchAbsent`. */
export function merge({ gpu: { adapter, variants }, versions }: Pick<Engines, 'versions'> & { gpu: { adapter: AdapterSummary; variants: ReadonlyMap<string, string> } }, gemm: readonly GemmResult[], step: readonly StepResult[], torch: Torch) {
  return {
    adapter, versions, variants: Object.fromEntries(variants), gemm, step: step.map((one) => ({ ...one, overTorch: overTorch(torch, one) })),
    ...('absent' in torch ? { torch: null, torchAbsent: torch.absent } : { torch }),
  };
}

export function torchTable(torch: Torch, step: readonly StepResult[]): string {
  if ('absent' in torch) return `torch: none (${torch.absent})`;
  return [`torch ${torch.version} on ${torch.device}, dense TopK step`, ...torch.step.flatMap(({ dIn, dSae, k, batch, ...speeds }) => {
    const own = step.find((one) => one.dIn === dIn && one.dSae === dSae);
    const over = own ? overTorch(torch, own) : null;
    return (['float32', 'tf32'] as const).map((name) => (
      `  d_in ${dIn}, d_sae ${dSae}, k ${k}, batch ${batch}, ${name.padEnd(7)} ${speeds[name].rowsPerSecond.toFixed(0).padStart(9)} rows/s${over ? `   cochlea's TopK step is ${over[name].toFixed(2)} times as fast` : ''}`
    ));
  })].join('\n');
}
