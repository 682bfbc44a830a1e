export type { AdapterSummary } from './device.ts';
export { Gpu, type GpuOptions, type Kernel } from './gpu.ts';
export { type Bound, Profiler, type TimedCommand, type Timing, type TracedSubmission, type Transfer } from './profiler.ts';
export { Recorder } from './recorder.ts';
export type { ShaderSource } from './shader.ts';
export { type DeviceRows, padded, readableBytes, Tensor, type Shard, type TensorShape } from './tensor.ts';
export { choiceName, sizeClass, variantFor } from './variants.ts';
