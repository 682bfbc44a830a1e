// Builds dist/ from the TypeScript sources, after bringing the generated shader module up to date.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeShaderModule } from './shaders.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

writeShaderModule();
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const { status } = spawnSync(process.execPath, [tsc, '-p', root], { stdio: 'inherit', cwd: root });
if (status !== 0) process.exit(status ?? 1);

// What was built from a source that is gone would still be run and packed.
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const file = join(entry.parentPath ?? entry.path, entry.name);
  const built = /^(.*)\.(js|d\.ts)$/.exec(relative(dist, file));
  if (built && !existsSync(join(root, `${built[1]}.ts`))) rmSync(file);
}

const bin = join(dist, 'cli/main.js');
if (existsSync(bin)) chmodSync(bin, 0o755);
