export * from './columns.ts';
export * from './decode.ts';
export * from './encode.ts';
export * from './gradients.ts';
export * from './latents.ts';
export * from './optimiser.ts';
export * from './rows.ts';
export * from './topk.ts';
export { shaders, type ShaderName } from './shaders.gen.ts';
