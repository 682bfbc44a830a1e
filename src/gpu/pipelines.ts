/** Compiled shaders, and what is bound to them: each made once. */
import { CochleaError } from '../errors.ts';
import type { Gpu } from './gpu.ts';
import { readLayout, replaceConstants, type ShaderBinding, type ShaderField, type ShaderSource } from './shader.ts';
import type { Shard, Tensor } from './tensor.ts';

/** A compiled shader with the constants it was compiled with. */
export interface Kernel {
  readonly name: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly bindings: readonly ShaderBinding[];
  readonly fields: readonly ShaderField[];
  /** Those that were replaced. */
  readonly constants: Readonly<Record<string, number>>;
  readonly id: number;
}

export class Pipelines {
  readonly #gpu: Gpu;
  readonly #kernels = new Map<string, Kernel>();
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  readonly #ids = new WeakMap<GPUBuffer | GPUTextureView, number>();
  #nextId = 0;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** The pipeline of a shader with some of its constants replaced. */
  kernel(shader: ShaderSource, constants: Record<string, number>): Kernel {
    const key = `${shader.name} ${Object.entries(constants).map(([name, value]) => `${name}=${value}`).sort().join(' ')}`;
    const known = this.#kernels.get(key);
    if (known) return known;
    const { device, profiler } = this.#gpu;
    const { bindings, fields } = readLayout(shader);
    const began = performance.now();
    const module = device.createShaderModule({ label: shader.name, code: this.#text(shader, constants) });
    const layout = device.createBindGroupLayout({
      label: shader.name,
      entries: [
        { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: fields.length * 4 } },
        ...bindings.map(({ binding, kind }): GPUBindGroupLayoutEntry => ({
          binding, visibility: GPUShaderStage.COMPUTE,
          ...(kind === 'image' ? { storageTexture: { access: 'read-only', format: 'rgba32float' } } : { buffer: { type: kind === 'written' ? 'storage' : 'read-only-storage' } }),
        })),
      ],
    });
    const pipeline = device.createComputePipeline({
      label: shader.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main' },
    });
    const kernel = { name: shader.name, pipeline, layout, bindings, fields, constants, id: this.#nextId++ };
    profiler?.compiled(kernel, performance.now() - began);
    this.#kernels.set(key, kernel);
    return kernel;
  }

  #text(shader: ShaderSource, constants: Record<string, number>): string {
    const text = replaceConstants(shader, constants);
    return this.#gpu.subgroups?.directive === false ? text.replace(/^(enable subgroups|diagnostic\(off, subgroup_uniformity\));/gm, '') : text;
  }

  /** The bind group of a kernel with these tensors. */
  bindGroup(kernel: Kernel, tensors: Record<string, Tensor | Shard>, uniforms: GPUBuffer): GPUBindGroup {
    let key = `${kernel.id}`;
    const entries: GPUBindGroupEntry[] = [{ binding: 0, resource: { buffer: uniforms, offset: 0, size: Math.ceil(kernel.fields.length / 4) * 16 } }];
    for (const { name, binding, kind } of kernel.bindings) {
      const given = tensors[name];
      if (!given) throw new CochleaError('gpu-error', `${kernel.name}: nothing is bound to ${name}`);
      const bound = kind === 'image' ? this.#gpu.images.of(given.buffer).view : given.buffer;
      let id = this.#ids.get(bound);
      if (id === undefined) this.#ids.set(bound, id = this.#nextId++);
      key += ` ${id}`;
      entries.push({ binding, resource: kind === 'image' ? bound as GPUTextureView : { buffer: bound as GPUBuffer } });
    }
    let group = this.#bindGroups.get(key);
    if (!group) this.#bindGroups.set(key, group = this.#gpu.device.createBindGroup({ label: kernel.name, layout: kernel.layout, entries }));
    return group;
  }

  /** Lets go of all bind groups: they hold on to what is bound. */
  unbind(): void {
    this.#bindGroups.clear();
  }

  /** Lets go of everything, as when the device is gone. */
  clear(): void {
    this.#kernels.clear();
    this.unbind();
  }
}
