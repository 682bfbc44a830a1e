export { Gpu, type AdapterSummary, type GpuOptions, type Kernel } from './gpu.ts';
export { Recorder } from './recorder.ts';
export type { ShaderSource } from './shader.ts';
export { padded, Tensor, type Shard, type TensorShape } from './tensor.ts';
