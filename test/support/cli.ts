/** The command as people run it: a process of its own, in the runtime of the tests. */
import { spawn } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const inDeno = 'Deno' in globalThis;

/** Program and arguments that start the command line. */
export function commandLine(): string[] {
  const main = fileURLToPath(new URL(`../../cli/main.${inDeno ? 'ts' : 'js'}`, import.meta.url));
  return [process.execPath, ...(inDeno ? ['run', '-A', '--no-lock', '--no-check'] : ['--no-concurrent-recompilation']), main];
}

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  /** Resolves when the process has ended. */
  readonly ended: Promise<Outcome>;
  readonly hasEnded: boolean;
  /** What it has said on stderr so far. */
  readonly said: string;
  kill(signal: NodeJS.Signals): void;
}

export interface CommandOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Where stdout goes instead of into the outcome: an open file, or a reader that has gone away. */
  stdout?: number | 'closed';
}

/** Starts a command. */
export function start(args: readonly string[], options: CommandOptions = {}): Running {
  const [program, ...first] = commandLine();
  const child = spawn(program!, [...first, ...args], {
    cwd: options.cwd, env: { ...process.env, NO_COLOR: '1', ...options.env }, stdio: ['ignore', typeof options.stdout === 'number' ? options.stdout : 'pipe', 'pipe'],
  });
  let stdout = '', stderr = '', hasEnded = false;
  if (options.stdout === 'closed') child.stdout!.destroy();
  else child.stdout?.on('data', (piece) => stdout += piece);
  child.stderr!.on('data', (piece) => stderr += piece);
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      hasEnded = true;
      // Deno takes the code 130 for a death by SIGINT.
      resolve(inDeno && signal === 'SIGINT' ? { code: 130, signal: null, stdout, stderr } : { code, signal, stdout, stderr });
    });
  });
  return {
    ended,
    get hasEnded() {
      return hasEnded;
    },
    get said() {
      return stderr;
    },
    kill: (signal) => void child.kill(signal),
  };
}

/** The one line that a failed command says; throws when it says more or prints a result. */
export function complaint({ stdout, stderr }: Outcome): string {
  const lines = stderr.trimEnd().split('\n');
  if (stdout !== '' || lines.length !== 1 || !lines[0]!.startsWith('cochlea: ')) throw new Error(`not one line on stderr alone, but: ${stdout}${stderr}`);
  return lines[0]!;
}

/** Runs a command to its end. */
export function cochlea(args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
  return start(args, options).ended;
}
