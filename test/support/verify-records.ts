/** Records of the canonical job that are kept in the repository, and how a fresh one is held against them. */
import { existsSync, readFileSync } from 'node:fs';
import { changedShaders, compareRecords, parseRecord, type VerifyRecord } from '../../src/verify/index.ts';
import { fixture, repo } from './paths.ts';

/** Steps that tests train, among them the last whose kernels a record has one by one; the whole 200 are those of `npm run verify:records`. */
export const stepsOfTests = 20;

export const version = (JSON.parse(readFileSync(repo('package.json'), 'utf8')) as { version: string }).version;

const command = 'npm run verify:records';

/** Where the record of a software adapter in a runtime is. */
export function keptPath(adapter: string, runtime: string): string {
  return fixture('verify', `${adapter}-${runtime}.json`);
}

export function keptRecord(adapter: string, runtime: string): VerifyRecord | undefined {
  const path = keptPath(adapter, runtime);
  return existsSync(path) ? parseRecord(readFileSync(path, 'utf8'), path) : undefined;
}

/** The adapters of which records are kept; undefined for others. */
export function keptName({ device, description }: { device: string; description: string }): string | undefined {
  const name = `${device} ${description}`;
  return /swiftshader/i.test(name) ? 'swiftshader' : /llvmpipe/i.test(name) ? 'lavapipe' : undefined;
}

/**
 * Throws unless what ran here is what the record says, bit for bit where it was made by the same versions of everything. Gives the verdict. What is to be done
 * is said where a shader or the job is another one than that of the record.
 */
export function held(found: VerifyRecord, kept: VerifyRecord, name: string): string {
  const { verdict, ok, line, notes } = compareRecords(found, kept);
  if (ok) return line;
  if (verdict === 'not comparable') throw new Error(`${name}: the canonical job changed: run ${command}`);
  const changed = changedShaders(found, kept);
  if (changed.length > 0) throw new Error(`${name}: shader ${changed.join(', ')} changed: run ${command} (${line})`);
  const sources = 'no shader changed: if a launcher or the trainer did, on purpose, run ' + command;
  throw new Error(`${name}: ${line}\n${notes.join('\n')}\n${sources}`);
}
