/**
 * What a run does when its device is lost or runs out of memory: a new device, everything anew from the last checkpoint (or, without one, from
 * the start), and the same bits in the end. A process that dies takes the same way when it is started again with `resume`.
 */
import { CochleaError } from '../errors.ts';
import type { Json } from '../formats/index.ts';
import type { Gpu } from '../gpu/index.ts';
import { type MemoryPlan, outOfMemory } from './memory-plan.ts';

/** Losses of a device that a run bears between one checkpoint and the next. */
const mostLosses = 3;

/** Tries to get a device back, a second or two apart: a driver that has just been reset needs a moment. */
const mostTries = 3;

/** Whether a new device can help. */
export const isRecoverable = (error: unknown): error is CochleaError => error instanceof CochleaError && (error.code === 'gpu-lost' || error.code === 'gpu-memory');

const goingOn = (step: number): string => `going on ${step > 0 ? `after step ${step}` : 'from the beginning'}`;

export class Recoveries {
  #deviceLost = 0;
  #outOfMemory = 0;
  /** The step that the last recovery went back to, and how many went there. */
  #step = -1;
  #inPlace = 0;

  /** Goes on counting where an earlier call of the same run stopped. */
  constructor(before: Json | undefined) {
    const counted = (before ?? {}) as Record<string, number>;
    this.#deviceLost = counted['device_lost'] ?? 0;
    this.#outOfMemory = counted['out_of_memory'] ?? 0;
  }

  get count(): number {
    return this.#deviceLost + this.#outOfMemory;
  }

  /** For run.json; undefined when nothing happened. */
  get record(): Json | undefined {
    return this.count === 0 ? undefined : { device_lost: this.#deviceLost, out_of_memory: this.#outOfMemory };
  }

  /**
   * Makes the device work again after an error that isRecoverable, or throws it. `step`: what the run goes back to. A lost device is replaced, so often as the run gets on
   * in between; memory that runs out makes chunks of rows half as large, once in a process.
   */
  async recover(gpu: Gpu, error: CochleaError, step: number, plan: MemoryPlan, notice: ((line: string) => void) | undefined): Promise<void> {
    if (error.code === 'gpu-memory') {
      if (gpu.workShare < 1) throw outOfMemory(gpu, plan, error);
      await gpu.reopen(0.5);
      this.#outOfMemory++;
      notice?.(`${error.message}: ${goingOn(step)}, with chunks of rows half as large`);
      return;
    }
    await this.replace(gpu, error, step, notice);
  }

  /** Replaces a device that was lost, or throws the error. `step`: what the run goes back to. */
  async replace(gpu: Gpu, error: CochleaError, step: number, notice: ((line: string) => void) | undefined): Promise<void> {
    this.#inPlace = step > this.#step ? 1 : this.#inPlace + 1;
    this.#step = step;
    if (this.#inPlace > mostLosses) {
      throw new CochleaError('gpu-lost', `${error.message}, for the ${this.#inPlace}th time ${step > 0 ? `after step ${step}` : 'without a checkpoint'}`, 'a smaller batch size may help where the driver resets the GPU', { cause: error });
    }
    await reopened(gpu);
    this.#deviceLost++;
    notice?.(`${error.message}: ${goingOn(step)} on a new one`);
  }
}

async function reopened(gpu: Gpu): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await gpu.reopen();
    } catch (error) {
      if (tries === mostTries) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * tries));
    }
  }
}
