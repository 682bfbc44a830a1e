/** Run by files.test.ts with a folder on a file system of 64 KiB: writes more than fits and prints what came of it. */
import { join } from 'node:path';
import process from 'node:process';
import type { CochleaError } from '../../src/errors.ts';
import { runtime } from '../../src/runtime/index.ts';

const folder = process.argv[2]!;
const target = join(folder, 'target');
await runtime.files.write(target, 'old');
const error = await runtime.files.write(target, new Uint8Array(1 << 20)).then(() => undefined, (thrown: CochleaError) => thrown);
console.log(JSON.stringify({ code: error?.code, message: error?.message, target: await runtime.files.readText(target), names: await runtime.files.list(folder) }));
