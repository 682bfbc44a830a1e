/**
 * The engines that are compared, all in this process and on one Dawn: each asks it for a device of the same adapter. The peers believe to be in a
 * browser: they look for navigator.gpu.
 */
import { CochleaError } from '../../src/errors.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { ensureAdapter } from '../../src/runtime/adapters.ts';
import { runtime } from '../../src/runtime/index.ts';
import { loadPeer } from './install.ts';
import type { Jax, Tfjs } from './peer-types.ts';

export interface Engines {
  gpu: Gpu;
  tf: Tfjs;
  jax: Jax;
  versions: { tfjs: string; jaxjs: string; runtime: string };
  /** What a peer's device reported since the last call, which would make its figures worthless. Throws `gpu-error`. */
  check(): void;
}

/** What a device says of its adapter, to compare. */
const identity = ({ adapterInfo: { vendor, architecture, device, description } }: GPUDevice): string => [vendor, architecture, device, description].join(', ');

/** Opens all three. Throws `gpu-error` unless they run on one adapter. */
export async function openEngines(): Promise<Engines> {
  await ensureAdapter();
  // runtime keeps Dawn's object until the last Gpu is disposed of; this one lives to the end.
  const gpu = await Gpu.open();
  const dawn = (await runtime.gpu())!;
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { gpu: dawn, userAgent: 'Node.js', hardwareConcurrency: runtime.processors } });
  const core = loadPeer('@tensorflow/tfjs-core');
  loadPeer('@tensorflow/tfjs-backend-webgpu');
  const tf = core.module as Tfjs;
  if (!await tf.setBackend('webgpu')) throw new CochleaError('gpu-error', 'tfjs cannot open its webgpu backend');
  const peer = loadPeer('@jax-js/jax');
  const jax = peer.module as Jax;
  if (!(await jax.init('webgpu')).includes('webgpu')) throw new CochleaError('gpu-error', 'jax-js cannot open its webgpu backend');
  jax.defaultDevice('webgpu');

  const problems: string[] = [];
  const own = identity(gpu.device);
  for (const [name, device] of [['tfjs', tf.backend().device], ['jax-js', jax.getWebGPUDevice()]] as const) {
    if (identity(device) !== own) throw new CochleaError('gpu-error', `${name} runs on ${identity(device)}, cochlea on ${own}`);
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      problems.push(`${name}: ${(event as GPUUncapturedErrorEvent).error.message.replace(/\s+/g, ' ').slice(0, 400)}`);
    });
  }
  return {
    gpu, tf, jax, versions: { tfjs: core.version, jaxjs: peer.version, runtime: runtime.version },
    check() {
      gpu.throwIfFailed();
      if (problems.length > 0) throw new CochleaError('gpu-error', problems.splice(0).join('; '));
    },
  };
}
