/** The peers: packages with a lock file of their own, which cochlea itself does not need, brought here when they are to be compared with. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { CochleaError } from '../../src/errors.ts';

/** The folder with the peers' package.json, seen from the sources and from dist/ alike. */
export function peersFolder(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const peers = join(folder, 'bench/peers');
    if (existsSync(join(peers, 'package.json'))) return peers;
    if (folder === dirname(folder)) throw new CochleaError('file-missing', 'bench/peers/package.json is not there', 'run this in the repository');
  }
}

const namesOf = (folder: string): Record<string, string> => (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }).dependencies;

function isInstalled(folder: string): boolean {
  return Object.entries(namesOf(folder)).every(([name, version]) => {
    const file = join(folder, 'node_modules', name, 'package.json');
    return existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version === version;
  });
}

/** Installs what is missing. Throws `fetch` when the registry cannot be reached. */
export async function installPeers(folder = peersFolder(), npm = 'npm'): Promise<void> {
  if (isInstalled(folder)) return;
  process.stderr.write(`installing the peers in ${folder}\n`);
  const child = spawn(npm, ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--fetch-retries', '1', '--fetch-timeout', '60000'], {
    cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32', // where npm is a script
  });
  child.stdout.pipe(process.stderr, { end: false });
  let errors = '';
  child.stderr.on('data', (piece) => errors += piece);
  const why = await new Promise<string | undefined>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    // npm writes a page; the code that it ended with is what the page is about.
    child.on('close', (code) => resolve(code === 0 ? undefined : `npm ci ended with ${/^npm error code (\S+)/m.exec(errors)?.[1] ?? `code ${code}`}`));
  });
  if (why !== undefined || !isInstalled(folder)) {
    throw new CochleaError('fetch', `the peers (${Object.keys(namesOf(folder)).join(', ')}) cannot be installed: ${why ?? 'npm ci left some out'}`,
      `they are needed from the npm registry once; npm ci in ${folder} says more`);
  }
}

/** Loads a peer, and its version. */
export function loadPeer(name: string, folder = peersFolder()): { module: unknown; version: string } {
  return { module: createRequire(join(folder, 'package.json'))(name), version: namesOf(folder)[name]! };
}
