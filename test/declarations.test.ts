/** The declarations that the package brings, as a project of somebody else's compiles against them. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';
import { repo } from './support/paths.ts';

const declarations = repo('dist/src/index.d.ts');

test('compile strictly without types that a project would have to ask for, WebGPU\'s among them', { skip: existsSync(declarations) ? false : 'dist is not built' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'cochlea-consumer-'));
  try {
    const main = join(folder, 'main.ts');
    writeFileSync(main, [
      `import { Gpu } from ${JSON.stringify(repo('dist/src/index.js'))};`, 'export const device = async (): Promise<string> => (await Gpu.open()).device.label;', 'export const wrong: number = (null! as Gpu).device;', '',
    ].join('\n'));
    const program = ts.createProgram([main], {
      strict: true, noEmit: true, types: [], target: ts.ScriptTarget.ES2022, lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.asynciterable.d.ts'],
      module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
    });
    const said = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => `${file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
    // A device is a device: were it unknown, it would be taken for a number.
    assert.deepEqual(said, [`${main}: Type 'GPUDevice' is not assignable to type 'number'.`]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
