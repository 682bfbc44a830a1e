import { Command } from 'commander';
import { encodeFile, SAE } from '../src/index.ts';
import { counted, interruptSignal, openOutput, type OutputOptions } from './support/console.ts';
import { openGpu } from './support/gpu.ts';

export function encodeCommand(): Command {
  return new Command('encode')
    .summary('Write feature activations and reconstructions of frames')
    .description('Feature activations and reconstructions of frames, as tensors `feature_acts` and `recon`')
    .argument('<sae>', 'folder of an SAE')
    .argument('<in>', 'frames: an activation store, a .safetensors file with tensor `x` [rows, d_in], a .npy file, or a folder of such files or of a dataset')
    .requiredOption('--out <file>', 'the .safetensors file to write')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'print the result as one JSON object')
    .action(async (folder: string, input: string, flags: OutputOptions & { out: string }) => {
      const output = openOutput(flags);
      const signal = interruptSignal();
      const gpu = await openGpu(output);
      try {
        const result = await encodeFile(await SAE.load(gpu, folder), input, flags.out, { onNotice: (line) => output.notice(line), signal });
        output.result(`${counted(result.frames, 'frame')}, L0 ${result.l0.toFixed(2)}: ${result.out}`, result);
      } finally {
        gpu.dispose();
      }
    });
}
