import { spawnSync } from 'node:child_process';
import { repo } from './paths.ts';

const tried = new Map<string, string | undefined>();

/** Why Python with these modules cannot be run here; undefined when it can. */
function lacking(modules: readonly string[]): string | undefined {
  const imports = ['sys', ...modules].join(', ');
  if (!tried.has(imports)) {
    const { status, error } = spawnSync('python3', ['-c', `import ${imports}`], { encoding: 'utf8', timeout: 60_000 });
    tried.set(imports, status === 0 ? undefined : error ? 'there is no python3 here' : `python3 here has not all of ${imports}`);
  }
  return tried.get(imports);
}

/** For a test's `skip`. */
export const withoutPython = (...modules: string[]): string | false => lacking(modules) ?? false;

/** What a script of docs/python prints. Throws when it fails. */
export function python(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('python3', [repo('docs', 'python', script), ...args], { encoding: 'utf8', timeout: 60_000 });
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout;
}
