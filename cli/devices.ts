import { Command } from 'commander';
import { Gpu, runtime } from '../src/index.ts';
import { ensureAdapter } from '../src/runtime/adapters.ts';
import { openOutput, type OutputOptions, table } from './support/console.ts';

export function devicesCommand(): Command {
  return new Command('devices')
    .summary('Show the adapter that everything will run on, and its limits')
    .description('Show the adapter that everything will run on, what was looked at, and its limits')
    .option('--json', 'print one JSON object')
    .action(async (options: OutputOptions) => {
      const output = openOutput(options);
      const choice = await ensureAdapter();
      const gpu = await Gpu.open();
      const { features, device: { limits } } = gpu;
      const facts = {
        adapter: { ...gpu.adapter }, runtime: runtime.version, tried: choice.tried, features,
        limits: {
          maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize, maxBufferSize: limits.maxBufferSize,
          maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
        },
      };
      gpu.dispose();
      output.result([
        choice.line,
        table([
          ['runtime', runtime.version],
          ['adapter', [gpu.adapter.vendor, gpu.adapter.architecture, gpu.adapter.device, gpu.adapter.description].filter((part) => part !== '').join(' / ')],
          ['kind', gpu.adapter.software ? 'software' : 'hardware'],
          ['features', features.join(', ') || 'none'],
          ['float16', features.includes('shader-f16') ? 'yes (--kernel-variant encode=wide_f16)' : 'no'],
          ...Object.entries(facts.limits).map(([name, value]) => [name, /Size$/.test(name) ? `${(value / 2 ** 20).toFixed(value < 2 ** 20 ? 3 : 0)} MiB` : String(value)]),
        ]),
        ...choice.tried.map((line) => `looked at  ${line}`),
        'COCHLEA_ADAPTER=gpu|lavapipe|swiftshader|PART OF A NAME chooses another.',
      ].join('\n'), facts);
    });
}
