/** What a run takes of the memory, known before any of it is allocated: the plan is made by the code that allocates, on tensors without memory. */
import { CochleaError } from '../errors.ts';
import { type Gpu, readableBytes, type Tensor } from '../gpu/index.ts';
import { runtime } from '../runtime/index.ts';

const uses = ['parameters', 'gradients', 'moments', 'activations', 'batch'] as const;

export type MemoryUse = (typeof uses)[number];

/** A tensor that has a size and no memory yet. */
export interface PlannedTensor {
  tensor: Tensor;
  use: MemoryUse;
}

export interface PlannedMemory {
  /** Name of the SAE, '' in a run of one and for what all share. */
  sae: string;
  label: string;
  use: MemoryUse;
  bytes: number;
  /** Pieces that it is cut into, because one binding does not take it. */
  shards: number;
}

export interface MemoryPlan {
  /** On the GPU, largest first. */
  tensors: readonly PlannedMemory[];
  /** Of all tensors. */
  gpuBytes: number;
  /** In the machine's own memory: the frames that are mixed, and what is read back to be written, into a checkpoint or as an SAE. */
  mixingBytes: number;
  readBackBytes: number;
}

/** A plan from what each SAE allocates; SAEs of one name go together. */
export function memoryPlan(planned: readonly { sae: string; tensors: readonly PlannedTensor[] }[], mixingBytes: number): MemoryPlan {
  const tensors = planned.flatMap(({ sae, tensors: own }) => own.map(({ tensor, use }): PlannedMemory => ({ sae, label: tensor.label, use, bytes: tensor.bytes, shards: tensor.shards.length })));
  const stateBytes = planned.map(({ tensors: own }) => own.filter(({ use }) => use === 'parameters' || use === 'moments').reduce((sum, { tensor }) => sum + tensor.bytes - tensor.imageBytes, 0));
  return { tensors: tensors.sort((a, b) => b.bytes - a.bytes), gpuBytes: total(tensors), mixingBytes, readBackBytes: Math.max(0, ...stateBytes) };
}

const total = (tensors: readonly PlannedMemory[]): number => tensors.reduce((sum, { bytes }) => sum + bytes, 0);

const nameOf = ({ sae, label }: PlannedMemory): string => (sae === '' ? label : `${sae}: ${label}`);

const listed = (tensors: readonly PlannedMemory[], most: number): string => (
  [...tensors.slice(0, most).map((one) => `${nameOf(one)} ${readableBytes(one.bytes)}`), ...(tensors.length > most ? [`${tensors.length - most} smaller`] : [])].join(', ')
);

/** The plan in one line: the sum, and the largest of what it is the sum of. */
export function planLine({ tensors, gpuBytes, mixingBytes }: MemoryPlan): string {
  return `memory: ${readableBytes(gpuBytes)} on the GPU (${listed(tensors, 3)}), ${readableBytes(mixingBytes)} for frames that are mixed`;
}

/** The whole plan as rows of a table, headings first. */
export function planTable({ tensors, gpuBytes, mixingBytes, readBackBytes }: MemoryPlan): string[][] {
  const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(3);
  return [
    ['tensor', 'for', 'MiB', 'shards'], ...tensors.map((one) => [nameOf(one), one.use, mebibytes(one.bytes), String(one.shards)]), ['on the GPU', 'sum', mebibytes(gpuBytes), ''],
    ['frames that are mixed', 'host', mebibytes(mixingBytes), ''], ['what is read back to be written', 'host', mebibytes(readBackBytes), ''],
  ];
}

/** The sum by what it is for, and what the adapter offers. */
function account(gpu: Gpu, { tensors, gpuBytes, mixingBytes, readBackBytes }: MemoryPlan): string {
  const parts = uses.map((use) => {
    const own = tensors.filter((one) => one.use === use);
    return `${use} ${readableBytes(total(own))} (${listed(own, 3)})`;
  });
  const { description, device, software } = gpu.adapter;
  const onHost = software ? `, besides ${readableBytes(mixingBytes)} for frames that are mixed and ${readableBytes(readBackBytes)} for what is read back to be written` : '';
  return `${readableBytes(gpuBytes)} on the GPU: ${parts.join(', ')}${onHost}; ${description || device || 'the adapter'} has buffers of up to ${readableBytes(gpu.device.limits.maxBufferSize)}, `
    + `of which it binds ${readableBytes(gpu.bindingBytes)} at a time`;
}

const wayOut = 'lower d_sae or the batch size';

/** Throws `gpu-memory` for what cannot be allocated. `free`: bytes that this process could still be given; a software adapter has no other memory, and takes more than there is. */
export function refuseTooLarge(gpu: Gpu, plan: MemoryPlan, free = runtime.freeMemory()): void {
  const unbound = plan.tensors.find(({ bytes, shards }) => bytes > shards * gpu.bindingBytes);
  if (unbound) {
    throw new CochleaError('gpu-memory', `${nameOf(unbound)} (${readableBytes(unbound.bytes)}) cannot be bound in ${unbound.shards === 1 ? 'one piece' : `${unbound.shards} pieces`}: the run takes ${account(gpu, plan)}`, wayOut);
  }
  const needed = plan.gpuBytes + plan.mixingBytes + plan.readBackBytes;
  if (gpu.adapter.software && needed > free) {
    throw new CochleaError('gpu-memory', `the run takes ${account(gpu, plan)}, all in the machine's own memory, of which ${readableBytes(free)} are free`, wayOut);
  }
}

/** An error of the GPU's memory, with the plan of what was being allocated or run. */
export function outOfMemory(gpu: Gpu, plan: MemoryPlan, error: CochleaError): CochleaError {
  return new CochleaError('gpu-memory', `${error.message}; the run takes ${account(gpu, plan)}`, wayOut, { cause: error });
}
