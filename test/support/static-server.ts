import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.mjs': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8',
  '.json': 'application/json', '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.wav': 'audio/wav', '.onnx': 'application/octet-stream',
};

/**
 * Serves the files of a folder on 127.0.0.1, isolated (COOP and COEP) so that pages get threads and exact clocks.
 * `pages` are answered before files: path to HTML. `more` answers what begins with its key: the rest of the path to bytes.
 */
export async function serveFolder(
  folder: string, pages: Record<string, string> = {}, more: Record<string, (rest: string) => Promise<Uint8Array>> = {},
): Promise<{ origin: string; close(): Promise<void> }> {
  const server = createServer(async (request, response) => {
    const isolated = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cache-Control': 'no-store' };
    try {
      const path = normalize(decodeURIComponent(new URL(request.url!, 'http://localhost').pathname));
      const prefix = Object.keys(more).find((start) => path.startsWith(start));
      const body = pages[path] ?? (prefix === undefined ? await readFile(join(folder, path)) : await more[prefix]!(path.slice(prefix.length)));
      response.writeHead(200, { ...isolated, 'Content-Type': pages[path] !== undefined ? types['.html'] : types[extname(path)] ?? 'application/octet-stream' });
      response.end(body);
    } catch {
      response.writeHead(404, isolated);
      response.end();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}
