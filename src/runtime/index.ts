import { createBrowserRuntime } from './browser.ts';
import type { Runtime } from './types.ts';

export type * from './types.ts';

function inBrowser(): boolean {
  const scope = globalThis as { Deno?: unknown; process?: { versions?: { node?: string } } };
  return scope.Deno === undefined && scope.process?.versions?.node === undefined;
}

/** The runtime this code runs in. The server side is imported only there, so that a page never sees `node:`. */
export const runtime: Runtime = inBrowser() ? createBrowserRuntime() : (await import('./server.ts')).createServerRuntime();
