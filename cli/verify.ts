import process from 'node:process';
import { Command } from 'commander';
import { canonicalJob, CochleaError, compareRecords, parseRecord, pinVariants, recordText, runJob, runtime, verifyFolder, type VerifyRecord } from '../src/index.ts';
import { openOutput, type Output, type OutputOptions } from './support/console.ts';
import { openGpu } from './support/gpu.ts';
import { wholeNumber } from './support/options.ts';
import { version } from './support/version.ts';

interface Flags extends OutputOptions {
  out?: string;
  against?: string;
  data?: string;
  steps?: number;
}

export function verifyCommand(): Command {
  return new Command('verify')
    .summary('Check that this machine computes what another one did')
    .description('Whether this machine computes what another one did: runs a fixed job, or the first steps of a training run again')
    .argument('[folder]', 'folder of a training run; without it the fixed job runs: every kernel on fixed inputs, then 200 steps of three architectures')
    .option('--out <file>', 'write what the job found, as a record for --against')
    .option('--against <record>', 'compare with this record')
    .option('--steps <n>', 'stop training after so many steps: of a run 16 unless told, of the job 200', wholeNumber(1))
    .option('--data <path>', 'where the frames (or recordings) of the run are, if not where it had them')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .addHelpText('after', '\nThe last line is the verdict. Exit code 0: identical, or within the bound that it states; 1: different, or not comparable.')
    .action(async (folder: string | undefined, flags: Flags) => {
      const [runOnly, jobOnly] = [flags.data !== undefined ? '--data' : undefined, flags.out !== undefined ? '--out' : flags.against !== undefined ? '--against' : undefined];
      if (folder !== undefined && jobOnly) throw new CochleaError('usage', `${jobOnly} is for the fixed job, and ${folder} is a run`, 'leave one of them away');
      if (folder === undefined && runOnly) throw new CochleaError('usage', `${runOnly} is for a run, and none is given`, 'name the folder of the run');
      if (folder === undefined && (flags.steps ?? 0) > canonicalJob.steps) throw new CochleaError('usage', `--steps is ${flags.steps}`, `the fixed job has ${canonicalJob.steps}`);
      const output = openOutput(flags);
      const ok = folder === undefined ? await verifyJob(flags, output) : await verifyRun(folder, flags, output);
      if (!ok) process.exitCode = 1;
    });
}

async function verifyRun(folder: string, { steps = 16, data }: Flags, output: Output): Promise<boolean> {
  const gpu = await openGpu(output);
  try {
    const found = await verifyFolder(gpu, folder, {
      steps, ...(data === undefined ? {} : { data }), onNotice: (line) => output.notice(line), onProgress: (line) => output.progress(line),
    });
    output.result([...found.notes, found.line].join('\n'), found);
    return found.ok;
  } finally {
    gpu.dispose();
  }
}

async function verifyJob({ out, against, steps }: Flags, output: Output): Promise<boolean> {
  const path = against ?? '';
  const known = against === undefined ? undefined : parseRecord(await runtime.files.readText(path), path); // before the work is done
  const gpu = await openGpu(output);
  try {
    if (known) pinVariants(gpu, known);
    const record = await runJob(gpu, { cochlea: version(), ...(steps === undefined ? {} : { steps }), onProgress: (line) => output.progress(line) });
    if (out !== undefined) await runtime.files.write(out, recordText(record));
    const { ok, notes, ...found } = known ? compareRecords(record, known) : alone(record);
    output.result([...notes, found.line].join('\n'), { ...found, ok, notes, ...(out === undefined ? {} : { out }), adapter: record.adapter, runtime: record.runtime });
    return ok;
  } finally {
    gpu.dispose();
  }
}

/** What a record says by itself: whether everything that rounds is as near to its float64 result as rounding allows. */
function alone({ checks, training, adapter, runtime: where, batches }: VerifyRecord): { verdict: string; ok: boolean; notes: string[]; line: string; largest: number } {
  const results = checks.flatMap(({ name, outputs }) => Object.entries(outputs).map(([output, { worst }]) => ({ name: `${name}, ${output}`, worst })));
  const bounded = results.filter(({ worst }) => worst !== undefined) as { name: string; worst: number }[];
  const farthest = bounded.reduce((a, b) => (b.worst > a.worst ? b : a));
  const steps = batches.split(' ').length;
  const notes = [
    `${adapter.description || adapter.device}, ${where}`, `batches ${batches.split(' ').at(-1)}`,
    ...Object.entries(training).map(([name, { chain, final }]) => `${name} after ${steps} steps: ${chain.split(' ').at(-1)}, explained variance ${final.explained_variance.toFixed(4)}`),
    ...bounded.filter(({ worst }) => worst > 1).map(({ name, worst }) => `${name}: ${worst} times as far from the float64 result as rounding allows`),
  ];
  const ok = farthest.worst <= 1;
  const line = ok ? `within the bound: ${bounded.length} results are at most ${farthest.worst} of the float64 bound away (${farthest.name}); ${results.length - bounded.length} exact ones need a record to compare with`
    : `different: ${farthest.name} is ${farthest.worst} times as far from the float64 result as rounding allows`;
  return { verdict: ok ? 'within the bound' : 'different', ok, notes, line, largest: farthest.worst };
}
