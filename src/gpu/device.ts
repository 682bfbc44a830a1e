/** Where devices come from, and what is peculiar to them. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { Shard } from './tensor.ts';

export interface AdapterSummary {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  /** A CPU pretending to be a GPU: SwiftShader, lavapipe, WARP. */
  software: boolean;
}

/** Subgroups, where every one has the same number of invocations. */
export interface Subgroups {
  size: number;
  /** Whether a shader says `enable subgroups;`. wgpu has the functions, and refuses that line. */
  directive: boolean;
}

export interface OpenedDevice {
  device: GPUDevice;
  adapter: AdapterSummary;
  features: readonly string[];
  subgroups: Subgroups | undefined;
}

/** A device with all the memory that its adapter offers. An adapter gives one device, so every device begins with an adapter. Throws `gpu-missing`. */
export async function openDevice(profile: boolean): Promise<OpenedDevice> {
  const entry = await runtime.gpu();
  const adapter = await entry?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new CochleaError('gpu-missing', 'no WebGPU adapter was found', 'install a Vulkan driver, or run through the cochlea command, which brings a software adapter');
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const { subgroupMinSize, subgroupMaxSize } = adapter.info as GPUAdapterInfo & { subgroupMinSize?: number; subgroupMaxSize?: number };
  const features = [...adapter.features].sort();
  const wanted: GPUFeatureName[] = profile ? ['shader-f16', 'timestamp-query'] : ['shader-f16'];
  const requiredFeatures = wanted.filter((name) => features.includes(name));
  const size = subgroupMinSize === subgroupMaxSize && [...features, ...runtime.unlistedFeatures].includes('subgroups') ? subgroupMinSize : undefined;
  if (size) requiredFeatures.push('subgroups' as GPUFeatureName);
  const device = await adapter.requestDevice({ label: 'cochlea', requiredLimits: { maxStorageBufferBindingSize, maxBufferSize }, requiredFeatures }).catch((error: Error) => {
    throw new CochleaError('gpu-missing', `${adapter.info.description || adapter.info.device || 'the adapter'} gives no device: ${oneLine(error.message) || error.name}`,
      'its memory may be full, or its driver broken', { cause: error });
  });
  return { device, adapter: summarise(adapter), features, subgroups: size ? await probeSubgroups(device, size) : undefined };
}

/** How a shader gets at subgroups, found by compiling one. */
async function probeSubgroups(device: GPUDevice, size: number): Promise<Subgroups | undefined> {
  for (const directive of [true, false]) {
    device.pushErrorScope('validation');
    device.createShaderModule({
      label: 'subgroups',
      code: `${directive ? 'enable subgroups;' : ''} @compute @workgroup_size(1) fn main(@builtin(subgroup_invocation_id) lane: u32) { _ = subgroupBroadcast(lane, 0u); }`,
    });
    if (!(await device.popErrorScope())) return { size, directive };
  }
  return undefined;
}

function summarise(adapter: GPUAdapter): AdapterSummary {
  const { vendor, architecture, device, description } = adapter.info;
  const software = adapter.info.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|softpipe|basic render/i.test(`${architecture} ${device} ${description}`);
  return { vendor, architecture, device, description, software };
}

/** A driver's message, which may run over many lines, on one. */
export function oneLine(message: string): string {
  return message.replace(/\s+/g, ' ').trim().slice(0, 600);
}

/** For bindings that nothing is to be bound to. */
export function unusedShard(device: GPUDevice): Shard {
  return { buffer: device.createBuffer({ label: 'unused', size: 16, usage: GPUBufferUsage.STORAGE }), first: 0, rows: 0, of: 0 };
}
