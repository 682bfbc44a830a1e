export type { AdapterSummary } from './device.ts';
export { Gpu, type GpuOptions } from './gpu.ts';
export { imageWidth } from './images.ts';
export type { Kernel } from './pipelines.ts';
export { type Bound, boundOf, Profiler, type TimedCommand, type Timing, type TracedSubmission, type Transfer } from './profiler.ts';
export { maxGroups, Recorder } from './recorder.ts';
export type { ShaderSource } from './shader.ts';
export { type DeviceRows, padded, readableBytes, Tensor, type Shard, type TensorShape } from './tensor.ts';
export { choiceName, sizeClass, variantFor } from './variants.ts';
