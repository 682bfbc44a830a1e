/**
 * Watches a device: what is recorded, compiled, uploaded and read back, and how long every dispatch takes. It knows no kernel; src/profile
 * joins what it finds with what kernels cost.
 *
 * A dispatch is timed by the timestamps of a pass of its own, where the device has them. Elsewhere every dispatch becomes a submission that is
 * waited for, less what an empty one takes; commands are then held back until somebody waits or reads, in the order in which they came, so
 * that either way the bits are those of a run that nobody watched.
 */
import type { Gpu } from './gpu.ts';
import type { Kernel } from './pipelines.ts';
import type { Shard, Tensor } from './tensor.ts';

/** What a dispatch had in one of its bindings. */
export interface Bound {
  rows: number;
  /** Rows of the whole tensor, of which this may be one shard. */
  of: number;
  /** Undefined for a shard. */
  columns: number | undefined;
}

/** What a dispatch has in its bindings, by their names. */
export function boundOf(tensors: Record<string, Tensor | Shard>): Record<string, Bound> {
  return Object.fromEntries(Object.entries(tensors).map(([name, given]) => [name, 'of' in given ? { rows: given.rows, of: given.of, columns: undefined } : { rows: given.rows, of: given.rows, columns: given.columns }]));
}

export interface TimedCommand {
  /** The kernel's name, or `clear` or `copy`. */
  kernel: string;
  constants: Readonly<Record<string, number>>;
  parameters: Readonly<Record<string, number>>;
  bound: Readonly<Record<string, Bound>>;
  grid: readonly [number, number];
  /** Of what the parameters say, less than all where a launch is in pieces. */
  share: number;
  /** Bytes that a clear or a copy writes. */
  bytes: number;
  /** What the profiler's `step` was when it was recorded. */
  step: number;
  submission: number;
  /** In ticks of the device's clock (nanoseconds, except under wgpu), or with wall times in nanoseconds of the host. NaN when what was measured was absurd. */
  begin: number;
  end: number;
}

/** One submission on the host, in milliseconds of performance.now(). */
export interface TracedSubmission {
  step: number;
  recordBegan: number;
  recordEnded: number;
  submitted: number;
  dispatches: number;
  /** Compute passes that the same commands take when nobody watches. */
  passes: number;
}

export interface Transfer {
  step: number;
  bytes: number;
  began: number;
  ended: number;
}

export type Timing = 'timestamps' | 'wall';

/** Queries of a set: two for each of the 1,024 dispatches that a submission has at most, and for the empty passes before and behind them. */
const queries = 2052;

interface QueryRoom {
  set: GPUQuerySet;
  resolved: GPUBuffer;
  staging: GPUBuffer;
}

type Command = (encoder: GPUCommandEncoder) => void;

/** What was recorded under a profiler until it is submitted. */
class Watched {
  readonly began = performance.now();
  readonly commands: TimedCommand[] = [];
  /** How each is run, where times are those of the host. */
  readonly held: Command[] = [];
  room: QueryRoom | undefined;
  used = 0;
  passes = 0;
  inPass = false;
}

export class Profiler {
  readonly timing: Timing;
  /** While false only transfers and compilations are counted, and recorders work as if nobody watched. */
  active = false;
  /** Whatever is recorded now belongs to this step. */
  step = 0;
  readonly submissions: TracedSubmission[] = [];
  readonly uploads: Transfer[] = [];
  readonly readbacks: Transfer[] = [];
  readonly compilations: { kernel: string; constants: Readonly<Record<string, number>>; milliseconds: number }[] = [];
  /** Commands whose time was negative or longer than an hour, which a specification of timestamps without guarantees allows. */
  dropped = 0;
  readonly #gpu: Gpu;
  #timed: TimedCommand[] = [];
  readonly #free: QueryRoom[] = [];
  #mapping: Promise<void>[] = [];
  #held: (() => Promise<void>)[] = [];
  #flushing: Promise<void> | undefined;
  /** Nanoseconds of an empty submission that is waited for. */
  #emptyWait: number | undefined;

  /** Attaches itself to the device. `timing` is 'wall' where the device was opened without timestamps. */
  constructor(gpu: Gpu, timing?: Timing) {
    this.#gpu = gpu;
    this.timing = timing ?? (gpu.device.features.has('timestamp-query') ? 'timestamps' : 'wall');
    gpu.profiler = this;
  }

  detach(): void {
    this.#gpu.profiler = undefined;
    for (const { set, resolved, staging } of this.#free) [set, resolved, staging].forEach((one) => one.destroy());
  }

  /** Called by a recorder that begins. */
  watch(): Watched | undefined {
    return this.active ? new Watched() : undefined;
  }

  dispatch(watched: Watched, encoder: GPUCommandEncoder, kernel: Kernel, group: GPUBindGroup, offset: number, grid: readonly [number, number],
    tensors: Record<string, Tensor | Shard>, parameters: Record<string, number>, share: number): void {
    watched.commands.push({ ...this.#command(kernel.name), constants: kernel.constants, parameters: { ...parameters }, bound: boundOf(tensors), grid, share });
    if (!watched.inPass) watched.passes++;
    watched.inPass = true;
    const run = (into: GPUCommandEncoder, timestampWrites?: GPUComputePassTimestampWrites): void => {
      const pass = into.beginComputePass(timestampWrites && { timestampWrites });
      pass.setPipeline(kernel.pipeline);
      pass.setBindGroup(0, group, [offset]);
      pass.dispatchWorkgroups(...grid);
      pass.end();
    };
    if (this.timing === 'wall') watched.held.push(run);
    else run(encoder, this.#writes(watched));
  }

  /** A clear or a copy. Its time is what passes between the passes around it, one of which may be empty. */
  transfer(watched: Watched, encoder: GPUCommandEncoder, kind: 'clear' | 'copy', bytes: number, run: Command): void {
    watched.inPass = false;
    if (this.timing === 'wall') {
      watched.commands.push({ ...this.#command(kind), bytes });
      watched.held.push(run);
      return;
    }
    if (watched.used === 0) encoder.beginComputePass({ timestampWrites: this.#writes(watched) }).end();
    const last = watched.commands.at(-1);
    if (last && last.kernel === kind && last.begin === watched.used - 1) last.bytes += bytes; // one gap has one time
    else watched.commands.push({ ...this.#command(kind), bytes, begin: watched.used - 1, end: watched.used });
    run(encoder);
  }

  /**
   * Ends what is being watched. The encoder gets what its timestamps need, and `submit` hands it to the queue: at once, or when its turn comes.
   * `uniforms` are then still what they are now.
   */
  submit(watched: Watched, encoder: GPUCommandEncoder, uniforms: { buffer: GPUBuffer; bytes: Uint8Array<ArrayBuffer> }, submit: () => void): void {
    const { commands, room } = watched;
    const submission = this.submissions.length;
    for (const command of commands) command.submission = submission;
    const trace = { step: this.step, recordBegan: watched.began, recordEnded: performance.now(), submitted: 0, dispatches: commands.filter(({ grid: [x] }) => x > 0).length, passes: watched.passes };
    this.submissions.push(trace);
    if (this.timing === 'wall') {
      const bytes = uniforms.bytes.slice();
      this.#held.push(async () => {
        trace.submitted = performance.now();
        if (bytes.length > 0) this.#gpu.device.queue.writeBuffer(uniforms.buffer, 0, bytes);
        await this.#runHeld(watched);
      });
      return;
    }
    if (room) {
      if (commands.at(-1)?.end === watched.used) encoder.beginComputePass({ timestampWrites: this.#writes(watched) }).end();
      encoder.resolveQuerySet(room.set, 0, watched.used, room.resolved, 0);
      encoder.copyBufferToBuffer(room.resolved, 0, room.staging, 0, watched.used * 8);
    }
    submit();
    trace.submitted = performance.now();
    if (!room) return;
    const reading = this.#read(watched, room);
    reading.catch(() => {}); // whoever collects hears of it; a device that is lost before has said so itself
    this.#mapping.push(reading);
  }

  /** Holds an upload back, where commands before it are; false when it can go at once. */
  upload(buffer: GPUBuffer, at: number, bytes: BufferSource): boolean {
    const now = performance.now();
    this.uploads.push({ step: this.step, bytes: bytes.byteLength, began: now, ended: now });
    if (this.#held.length === 0) return false;
    const copy = new Uint8Array(ArrayBuffer.isView(bytes) ? bytes.buffer : bytes, ArrayBuffer.isView(bytes) ? bytes.byteOffset : 0, bytes.byteLength).slice();
    this.#held.push(async () => this.#gpu.device.queue.writeBuffer(buffer, at, copy));
    return true;
  }

  compiled({ name, constants }: Kernel, milliseconds: number): void {
    this.compilations.push({ kernel: name, constants, milliseconds });
  }

  /** Called before bytes are read back, and by what it returns when they are there. */
  async beginRead(bytes: number): Promise<{ end(): void }> {
    const began = performance.now(), { step } = this;
    await this.flush();
    return { end: () => void this.readbacks.push({ step, bytes, began, ended: performance.now() }) };
  }

  /** Runs what was held back. */
  async flush(): Promise<void> {
    while (this.#held.length > 0) {
      this.#flushing ??= this.#runAll();
      await this.#flushing;
    }
  }

  /** Every command timed since the last call, in the order in which the device ran them. */
  async collect(): Promise<TimedCommand[]> {
    await this.flush();
    const mapping = this.#mapping;
    this.#mapping = [];
    await Promise.all(mapping);
    const timed = this.#timed;
    this.#timed = [];
    return timed.sort((a, b) => a.submission - b.submission);
  }

  #command(kernel: string): TimedCommand {
    return { kernel, constants: {}, parameters: {}, bound: {}, grid: [0, 0], share: 1, bytes: 0, step: this.step, submission: 0, begin: NaN, end: NaN };
  }

  /** The next two queries of a pass; the newest command is theirs. */
  #writes(watched: Watched): GPUComputePassTimestampWrites {
    const room = watched.room ??= this.#free.pop() ?? this.#makeRoom();
    const first = watched.used;
    watched.used += 2;
    const command = watched.commands.at(-1);
    if (command && Number.isNaN(command.begin)) [command.begin, command.end] = [first, first + 1];
    return { querySet: room.set, beginningOfPassWriteIndex: first, endOfPassWriteIndex: first + 1 };
  }

  #makeRoom(): QueryRoom {
    const { device } = this.#gpu;
    return {
      set: device.createQuerySet({ label: 'timestamps', type: 'timestamp', count: queries }),
      resolved: device.createBuffer({ label: 'timestamps', size: queries * 8, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC }),
      staging: device.createBuffer({ label: 'timestamps', size: queries * 8, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST }),
    };
  }

  /** Commands begin and end at numbers of queries until these are read. */
  async #read(watched: Watched, room: QueryRoom): Promise<void> {
    await this.#gpu.patiently(room.staging.mapAsync(GPUMapMode.READ, 0, watched.used * 8));
    const ticks = new BigUint64Array(room.staging.getMappedRange(0, watched.used * 8).slice(0));
    room.staging.unmap();
    this.#free.push(room);
    for (const command of watched.commands) {
      [command.begin, command.end] = [Number(ticks[command.begin]), Number(ticks[command.end])];
      this.#keep(command);
    }
  }

  #keep(command: TimedCommand): void {
    const ticks = command.end - command.begin;
    if (!(ticks >= 0 && ticks < 3.6e12)) {
      this.dropped++;
      [command.begin, command.end] = [NaN, NaN];
    }
    this.#timed.push(command);
  }

  async #runAll(): Promise<void> {
    try {
      for (;;) {
        const next = this.#held[0];
        if (!next) return;
        await next();
        this.#held.shift();
      }
    } finally {
      this.#flushing = undefined;
    }
  }

  async #runHeld({ commands, held }: Watched): Promise<void> {
    this.#emptyWait ??= await this.#measureWait();
    for (const [n, command] of commands.entries()) {
      const began = performance.now();
      await this.#wait(held[n]!);
      command.begin = began * 1e6;
      command.end = command.begin + Math.max(0, (performance.now() - began) * 1e6 - this.#emptyWait);
      this.#keep(command);
    }
  }

  async #wait(run: Command): Promise<void> {
    const encoder = this.#gpu.device.createCommandEncoder();
    run(encoder);
    this.#gpu.device.queue.submit([encoder.finish()]);
    await this.#gpu.patiently(this.#gpu.device.queue.onSubmittedWorkDone());
  }

  async #measureWait(): Promise<number> {
    const waits: number[] = [];
    for (let n = 0; n < 9; n++) {
      const began = performance.now();
      await this.#wait((encoder) => encoder.beginComputePass().end());
      waits.push((performance.now() - began) * 1e6);
    }
    return waits.sort((a, b) => a - b)[4]!;
  }
}

export type { Watched };
