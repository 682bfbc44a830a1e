export { type LoadOptions, type PretrainedSae } from './loader.ts';
export { loadPretrainedFolder, readPretrained } from './load.ts';
export { loaders } from './loaders/index.ts';
export { type PerLayer, type Release, type ResolvedSae, resolveSae } from './registry.ts';
export { releases } from './releases.ts';
export { writers } from './writers/index.ts';
