import { readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import process from 'node:process';
import { unpackSoftwareAdapter } from '../../src/runtime/adapters.ts';

/**
 * What needs Node's own runner or a browser, reads the sources and so says the same in every runtime, or takes minutes to say of whole runs what
 * the kernel cases, the recorded steps and shorter runs say in every runtime.
 */
const nodeOnly = [
  'browser.test', 'deno.test', 'walls.test', 'declarations.test', 'encoders/webgpu.test', 'bench/quality.test', 'cli/transcoder.test', 'jobs/behaviour.test', 'training/architectures.test', 'training/kill.test', 'training/learning.test', 'training/many.test', 'training/packed.test',
  'training/survives.test',
];

/** The test files below a folder, relative to it; with `portable` those that every server runtime runs. */
export function testFiles(folder: string, options: { portable: boolean; extension: string; filter?: readonly string[] }): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(`.test${options.extension}`))
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)).split(sep).join('/'))
    .filter((file) => !options.portable || !nodeOnly.some((name) => file === name + options.extension))
    .filter((file) => !options.filter?.length || options.filter.some((part) => file.includes(part)))
    .sort((a, b) => a.split('/').length - b.split('/').length || (a < b ? -1 : 1)); // the long ones lie at the top
}

/** Tests run on the bundled software adapter, everywhere the same, unless COCHLEA_ADAPTER says otherwise. Unpacks it; says what it chose. */
export async function chooseTestAdapter(): Promise<string> {
  if (process.env['COCHLEA_ADAPTER']) return `COCHLEA_ADAPTER=${process.env['COCHLEA_ADAPTER']}`;
  const software = await unpackSoftwareAdapter();
  if ('reason' in software) return `the machine's own GPU: no software adapter, ${software.reason}`;
  process.env['COCHLEA_ADAPTER'] = 'swiftshader';
  return 'the bundled software adapter SwiftShader';
}
