/**
 * A program of its own: opens the GPU under the setup given as its argument, runs one small kernel and
 * prints what it found. A driver that crashes or hangs then takes this process with it and not ours.
 */
import process from 'node:process';
import { openNativeGpu, type GpuSetup } from './native-gpu.ts';

/** What the probe prints as its last line. */
export type ProbeReport =
  | { name: string; backend?: string; driver: string; software: boolean; adapter?: string }
  | { failed: string; /** Nothing is there, as against something that does not work. */ absent?: boolean };

const softwareNames = /swiftshader|llvmpipe|lavapipe|softpipe|basic render/i;

/** Dawn gives an adapter's plain name and backend only in the error about a name that it does not have. */
async function dawnAdapters(setup: GpuSetup): Promise<{ backend: string; name: string }[]> {
  const gpu = await openNativeGpu({ ...setup, adapter: '(none)' });
  try {
    await gpu.requestAdapter();
  } catch (error) {
    return [...(error as Error).message.matchAll(/backend: '([^']*)', name: '([^'\n]*)'/g)].map(([, backend, name]) => ({ backend: backend!, name: name! }));
  }
  return [];
}

async function doublesCorrectly(device: GPUDevice): Promise<boolean> {
  const code = `@group(0) @binding(0) var<storage, read_write> values: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { values[id.x] = id.x * 2u; }`;
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module: device.createShaderModule({ code }) } });
  const values = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const copy = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: values } }] }));
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(values, 0, copy, 0, 256);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(GPUMapMode.READ);
  return new Uint32Array(copy.getMappedRange()).every((value, i) => value === 2 * i);
}

/** `wanted`, when given, is part of the name of the adapter to look at. */
async function probe(setup: GpuSetup, wanted: string | undefined): Promise<ProbeReport> {
  const dawn = 'Deno' in globalThis ? [] : await dawnAdapters(setup);
  const named = wanted === undefined ? undefined : dawn.find(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()));
  const gpu = await openNativeGpu({ ...setup, adapter: named?.name });
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return { failed: 'no adapter', absent: true };
  const { description, device: deviceName, isFallbackAdapter } = adapter.info;
  // wgpu's description is the adapter's name; Dawn's is the driver's, and its device is the name without capitals and blanks.
  const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');
  const first = named ?? dawn.find(({ name }) => plain(name) === plain(deviceName));
  const name = first?.name ?? (dawn.length > 0 ? deviceName : description);
  const device = await adapter.requestDevice();
  if (!await doublesCorrectly(device)) return { failed: `${name} computes wrong numbers` };
  return {
    name, driver: description, backend: first?.backend, adapter: named?.name,
    software: isFallbackAdapter || softwareNames.test(`${name} ${description}`),
  };
}

const [setup, wanted] = process.argv.slice(2);
const report = await probe(JSON.parse(setup!) as GpuSetup, wanted).catch((error: Error): ProbeReport => ({ failed: error.message.split('\n')[0]! }));
process.stdout.write(`\n${JSON.stringify(report)}\n`, () => process.exit(0));
