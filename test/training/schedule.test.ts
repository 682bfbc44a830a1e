import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { RandomStream } from '../../src/random.ts';
import { learningRate, schedulers, totalSteps, type TrainerConfig, trainerConfig } from '../../src/training/index.ts';
import * as oracle from '../oracle/schedule.ts';
import { shared } from '../support/paths.ts';
import { freshSeed } from '../support/mutate.ts';

const batch = 8;

function oracleOptions(config: TrainerConfig): oracle.LearningRateOptions {
  return {
    lr: config.lr, lrEnd: config.lr_end, scheduler: config.lr_scheduler_name, warmUpSteps: config.lr_warm_up_steps, decaySteps: config.lr_decay_steps,
    restartCycles: config.n_restart_cycles, totalSteps: totalSteps(config),
  };
}

interface Recorded {
  scheduler: TrainerConfig['lr_scheduler_name'];
  lr: number;
  lr_end: number;
  training_steps: number;
  warm_up_steps: number;
  decay_steps: number;
  num_cycles: number;
  values: number[];
}

const recorded = shared('fixtures', 'saelens', 'schedules.json');

test('learning rates are those that SAELens recorded', { skip: recorded ? false : '../shared/fixtures/saelens/schedules.json is not there' }, () => {
  const { lr: schedules } = JSON.parse(readFileSync(recorded!, 'utf8')) as { lr: Recorded[] };
  assert.deepEqual([...new Set(schedules.map(({ scheduler }) => scheduler))].sort(), [...schedulers].sort());
  for (const { values, ...given } of schedules) {
    const config = trainerConfig({
      train_batch_size_samples: batch, total_training_samples: batch * given.training_steps, lr: given.lr, lr_end: given.lr_end, lr_scheduler_name: given.scheduler,
      lr_warm_up_steps: given.warm_up_steps, lr_decay_steps: given.decay_steps, n_restart_cycles: given.num_cycles,
    });
    for (let t = 0; t < given.training_steps; t++) {
      // SAELens updates its rate step by step, so its last digits drift.
      assert.ok(Math.abs(learningRate(t, config) - values[t]!) <= 1e-12 * given.lr, `${JSON.stringify(given)}, step ${t}: ${learningRate(t, config)}, not ${values[t]}`);
    }
  }
});

test('learning rates are the oracle\'s, whatever the schedule', () => {
  const random = new RandomStream(freshSeed('schedules'), 1200);
  for (let n = 0; n < 200; n++) {
    const steps = 1 + random.below(80);
    const warmUp = random.below(steps + 1), decay = random.below(steps - warmUp + 1);
    const config = trainerConfig({
      train_batch_size_samples: batch, total_training_samples: batch * steps + random.below(batch), lr: 1e-4 + random.uniform(), lr_end: 1e-3 * (1 + random.uniform()),
      lr_scheduler_name: schedulers[random.below(schedulers.length)]!, lr_warm_up_steps: warmUp, lr_decay_steps: decay,
      n_restart_cycles: 1 + random.below(Math.max(1, steps - warmUp - decay)),
    });
    for (let t = 0; t < steps; t++) {
      const expected = oracle.learningRate(t, oracleOptions(config));
      assert.ok(Math.abs(learningRate(t, config) - expected) <= 1e-14, `${JSON.stringify(config)}, step ${t}: ${learningRate(t, config)}, not ${expected}`);
      assert.ok(learningRate(t, config) > 0, `step ${t} of ${JSON.stringify(config)} learns nothing`);
    }
  }
});

test('more restarts than steps between warm-up and decay still give a rate', () => {
  const config = trainerConfig({
    train_batch_size_samples: 1, total_training_samples: 5, lr: 1, lr_scheduler_name: 'cosineannealingwarmrestarts', n_restart_cycles: 9, lr_warm_up_steps: 2,
  });
  assert.deepEqual([0, 1, 2, 3, 4].map((t) => learningRate(t, config)), [0.5, 1, 1, 1, 1]);
});
