/** A small report. `text` stands for everything that somebody else writes: ids, labels, names. */
import type { ReportData, Strip } from '../../src/report/index.ts';
import { RandomStream } from '../../src/random.ts';

const frameRate = 50;
const sampleRate = 16000;

export function sampleReport(text: (what: string) => string = (what) => what, features = 2): ReportData {
  const random = new RandomStream(23, 100);
  const mel = (frames: number): Strip['mel'] => ({ values: Float32Array.from({ length: 32 * frames }, () => -6 + 4 * random.uniform()), mels: 32, frames });
  const tone = (seconds: number, level: number): Float32Array => Float32Array.from({ length: seconds * sampleRate }, (_, n) => level * Math.sin((2 * Math.PI * 440 * n) / sampleRate));
  const segments = [{ start: 0, end: 0.5, label: text('pau') }, { start: 0.5, end: 0.9, label: text('aa') }, { start: 0.9, end: 3, label: text('sh') }];
  const strip = (n: number): Strip => ({
    clip: text(`clip-${n}`), start: 0.2, end: 1.4, mel: mel(120), sound: { index: n % 2, offset: 0.1 }, segments,
    firing: { time: 0.8, value: 3.25 }, activation: Float32Array.from({ length: 60 }, (_, frame) => Math.max(0, 3.25 - Math.abs(frame - 30) / 2)), activationStart: 0.2,
  });
  const metric = (value: number): { value: number } => ({ value });
  return {
    title: text('A report'),
    summary: text('What it is about.'),
    run: {
      model: text('moonshine-tiny'), hook: text('encoder.layers.3'), layer: 3, frameRate, architecture: 'topk', dIn: 288, dSae: 2048, k: 32, steps: 1000, batch: 4096, seed: 42,
      adapter: text('SwiftShader'), software: [{ name: text('cochlea'), version: text('0.1.0') }],
      training: { clips: 600, hours: 1.5, frames: 220000 }, heldOut: { clips: 20, hours: 0.05, frames: 7000 }, licence: text('BSD-like'),
    },
    scores: [
      {
        name: text('trained'), metrics: { explained_variance: metric(0.81234), l0: metric(32), frac_alive: metric(0.98), cossim: metric(0.93) },
        intervals: { explained_variance: { low: 0.79, high: 0.83 }, l0: { low: 32, high: 32 } },
      },
      {
        name: text('mean only'), metrics: { explained_variance: metric(-0.01), l0: metric(0), frac_alive: { value: null, reason: text('no latents') } },
        intervals: { explained_variance: { low: null, high: null, reason: text('too few clips') } },
      },
    ],
    metrics: ['explained_variance', 'l0', 'frac_alive', 'cossim'].map((name) => ({ name, unit: text('share'), definition: text(`what ${name} is.`), source: text('SAEBench') })),
    curves: [
      { name: text('loss'), unit: text('squared activation'), scale: 'log', points: Array.from({ length: 1000 }, (_, step) => ({ step: step + 1, value: 500 / (1 + step / 20) })) },
      { name: 'l0', unit: 'latents', scale: 'linear', points: [{ step: 1, value: 32 }, { step: 1000, value: 32 }] },
      { name: 'nothing', unit: '', scale: 'linear', points: [] },
    ],
    density: { edges: [-1, -0.75, -0.5, -0.25, 0], counts: [3, 0, 12, 1], silent: 4 },
    recording: {
      clip: text('clip-9'), start: 0, end: 3, mel: mel(300), sound: { index: 1, offset: 0 }, segments, text: text('Some words.'),
      latents: [0, 77].map((latent) => ({ latent, label: text('aa'), activation: Float32Array.from({ length: 150 }, (_, frame) => (frame % 40 < 10 ? frame : 0)) })),
    },
    features: Array.from({ length: features }, (_, latent) => ({
      latent, density: 0.0312, meanActivation: 1.5, maxActivation: 3.25, clips: 40,
      label: { label: text('aa'), precision: 0.5, recall: 0.25, f1: 1 / 3, hits: 50, fired: 100, support: 200 },
      top: [strip(0), strip(1)], random: [strip(2)],
    })),
    labelsTried: 51,
    sounds: [{ samples: tone(2, 0.9), sampleRate }, { samples: tone(3, 0.01), sampleRate }],
  };
}
