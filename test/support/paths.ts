import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// The same file runs from test/support/ (Deno) and from dist/test/support/ (Node).
function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('no package.json above the tests');
    folder = parent;
  }
  return folder;
}

const root = findRoot();

/** A file of the repository. */
export function repo(...parts: string[]): string {
  return join(root, ...parts);
}

/** A file of test/fixtures. */
export function fixture(...parts: string[]): string {
  return join(root, 'test', 'fixtures', ...parts);
}

/** A file of the folder `shared` that may lie beside the repository; undefined when it is not there. */
export function shared(...parts: string[]): string | undefined {
  const path = join(root, '..', 'shared', ...parts);
  return existsSync(path) ? path : undefined;
}
