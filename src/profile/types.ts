/** What a profile says, as `--json` writes it. Times are milliseconds unless a name says otherwise. */
import type { AdapterSummary } from '../gpu/index.ts';

/** Of samples: the middle one, and those that a tenth lie below and above. */
export interface Spread {
  median: number;
  p10: number;
  p90: number;
}

/** What this adapter can do at best, measured on it. */
export interface Peaks {
  /** Multiply-adds in float32, 1e9 operations a second. */
  gflops: number;
  /** Triad over memory, 1e9 bytes a second. */
  gigabytes: number;
  /** A dispatch that does nothing, in milliseconds. */
  launch: number;
}

/** What bounds a kernel from below. */
export type BoundKind = 'compute' | 'bandwidth' | 'launch';

/** All dispatches of one kernel with the same constants. */
export interface KernelRow {
  kernel: string;
  /** Constants that were replaced, e.g. `RELU=1 WG=64`. */
  variant: string;
  /** Dispatches, workgroups, FLOPs and bytes of a step. The latter two undefined for a kernel without a known cost. */
  calls: number;
  workgroups: number;
  flops: number | undefined;
  bytes: number | undefined;
  /** Of a step. */
  time: Spread;
  /** Of all kernels' time, 0 to 1. */
  share: number;
  gflops: number | undefined;
  gigabytes: number | undefined;
  /** FLOPs per byte; undefined where no bytes are counted. */
  intensity: number | undefined;
  bound: BoundKind | undefined;
  floor: number | undefined;
  /** Time over floor. */
  overFloor: number | undefined;
}

export interface TimingNote {
  /** exact, quantised (steps of 65.5 microseconds), calibrated (ticks), or wall (a submission per dispatch). */
  mode: 'exact' | 'quantised' | 'calibrated' | 'wall';
  /** Nanoseconds of a tick. */
  tick: number;
  note: string;
  /** Times that were negative or absurd, and left out. */
  dropped: number;
}

export interface Machine {
  cochlea: string;
  runtime: string;
  adapter: AdapterSummary;
  features: readonly string[];
  limits: Record<string, number>;
}

/** Training or encoding on the GPU. */
export interface GpuProfile extends Machine {
  format: 'cochlea-profile';
  version: 1;
  kind: 'training' | 'encode';
  /** What was profiled; profiles compare only where it is equal. */
  configuration: Record<string, string | number | boolean>;
  timing: TimingNote;
  peaks: Peaks;
  /** Measured steps, and those before them. */
  steps: number;
  warmUp: number;
  /** Longest first. */
  kernels: KernelRow[];
  step: {
    /** Sum of all kernels. */
    busy: Spread;
    /** From one step's end to the next one's, when nobody watches, and under the profiler. */
    wall: Spread;
    watchedWall: Spread;
    /** Steps that one sample of these walls covers. */
    window: number;
    /** watchedWall over wall: what profiling costs. */
    overhead: number;
    /** wall less busy, at least zero, and as a share of wall. */
    idle: number;
    idleShare: number;
    /** Uploading, recording and submitting on the host, when nobody watches. */
    host: Spread;
    /** Mean wall of the last third over that of the first; undefined of fewer than six samples. */
    drift: number | undefined;
    rows: number;
    rowsPerSecond: number;
    /** If the GPU never waited. */
    rowsPerSecondWithoutIdle: number;
    submissions: number;
    passes: number;
    dispatches: number;
    uploaded: number;
    readBack: number;
    readbacks: number;
  };
  /** Bytes of tensors, by label. */
  memory: Record<string, number>;
  /** Shaders into pipelines: what the call took, and how much longer its first dispatch took than later ones, since drivers may compile then. */
  compilation: { kernel: string; variant: string; call: number; firstRun: number }[];
  /** Whether the watched steps left the bits of those that nobody watched. */
  sameBits: boolean;
  /** What was compared: parameters, moments, counters and metrics; of very large SAEs metrics alone; or what encoding gave. */
  compared: 'state' | 'metrics' | 'outputs';
  advice: string[];
}

/** Stages of a clip on its way to a store, in milliseconds. */
export const stages = ['decode', 'resample', 'features', 'model', 'write'] as const;

export interface ClipTimes {
  id: string;
  /** Of sound. */
  seconds: number;
  frames: number;
  times: Record<(typeof stages)[number], number>;
}

/** Extraction, which takes the CPU. */
export interface ExtractionProfile extends Pick<Machine, 'cochlea' | 'runtime'> {
  format: 'cochlea-profile';
  version: 1;
  kind: 'extraction';
  configuration: Record<string, string | number | boolean>;
  open: number;
  clips: ClipTimes[];
  /** Of all clips; with each stage's share. */
  stages: Record<(typeof stages)[number], { total: number; share: number; spread: Spread }>;
  /** Seconds of sound per second of work. */
  speed: number;
  framesPerSecond: number;
  skipped: string[];
  advice: string[];
}

export type Profile = GpuProfile | ExtractionProfile;

/** A stretch of time for the trace: host milliseconds. */
export interface Span {
  track: string;
  name: string;
  began: number;
  ended: number;
  details?: Record<string, string | number>;
}

/** Numbers at a time. */
export interface Sample {
  name: string;
  at: number;
  value: number;
}

/** What `--trace` writes. */
export interface Timeline {
  spans: Span[];
  samples: Sample[];
}
