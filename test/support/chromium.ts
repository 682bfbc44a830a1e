import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { launch, type Browser } from 'puppeteer-core';
import { bundleLocation, unpackArchive } from '../../src/runtime/adapters.ts';
import { runtime } from '../../src/runtime/index.ts';
import { installFolder } from '../../src/runtime/unpack.ts';

/** Headless Chromium with WebGPU on SwiftShader, from the npm package; `undefined` on machines that it is not built for. */
export async function launchChromium(): Promise<Browser | undefined> {
  const bundle = await bundleLocation();
  if (!bundle || process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const folder = join(runtime.cacheFolder(), 'chromium', bundle.version);
  await installFolder(folder, async (beside) => {
    const executable = join(beside, 'chromium');
    await writeFile(executable, await promisify(brotliDecompress)(await readFile(join(bundle.bin, 'chromium.br'))));
    await chmod(executable, 0o755);
    // Chromium looks for SwiftShader beside its executable only.
    const swiftshader = ['libEGL.so', 'libGLESv2.so', 'libvk_swiftshader.so', 'libvulkan.so.1', 'vk_swiftshader_icd.json'];
    await unpackArchive(join(bundle.bin, 'swiftshader.tar.br'), swiftshader, beside);
    const nss = ['expat.so.1', 'freebl3.so', 'freebl3.chk', 'freeblpriv3.so', 'freeblpriv3.chk', 'nspr4.so', 'nss3.so', 'nssutil3.so', 'plc4.so', 'plds4.so', 'softokn3.so', 'softokn3.chk'];
    await unpackArchive(join(bundle.bin, 'al2023.tar.br'), nss.map((name) => `lib/lib${name}`), beside);
  });
  const { VK_DRIVER_FILES: _, ...env } = process.env;
  return launch({
    executablePath: join(folder, 'chromium'),
    headless: 'shell',
    args: [
      '--no-sandbox', // needs no user namespaces
      '--disable-dev-shm-usage', // containers keep /dev/shm small
      '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader',
      '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic',
    ],
    env: { ...env, LD_LIBRARY_PATH: [join(folder, 'lib'), process.env['LD_LIBRARY_PATH']].filter(Boolean).join(':') },
  });
}
