import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { type TopkConfig, topkConfig } from '../../src/sae/index.ts';
import { totalSteps, type TrainerConfig, trainerConfig } from '../../src/training/index.ts';

/** Refused with the field and what it must be, on one line. */
const refusal = (field: string, must: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof CochleaError);
  assert.equal(error.code, 'config');
  assert.ok(error.message.startsWith(`${field} is `), error.message);
  assert.match(error.line, must);
  assert.ok(!error.line.includes('\n') && !/is (null|undefined):/.test(error.line), error.line);
  return true;
};

describe('trainerConfig', () => {
  test('fills in SAELens\' defaults', () => {
    assert.deepEqual(trainerConfig({}), {
      train_batch_size_samples: 4096, total_training_samples: 2_000_000, lr: 3e-4, lr_end: 3e-4 / 10, lr_scheduler_name: 'constant', lr_warm_up_steps: 0,
      lr_decay_steps: 0, n_restart_cycles: 1, adam_beta1: 0.9, adam_beta2: 0.999, dead_feature_window: 1000, feature_sampling_window: 2000, seed: 42,
      unit_norm_decoder: false, resample_steps: [], b_dec_init_method: 'zeros',
    });
    assert.equal(totalSteps(trainerConfig({ train_batch_size_samples: 300, total_training_samples: 1000 })), 3);
  });

  const impossible: [keyof TrainerConfig, unknown, RegExp][] = [
    ...(['train_batch_size_samples', 'total_training_samples', 'dead_feature_window', 'feature_sampling_window', 'n_restart_cycles'] as const)
      .flatMap((field) => [0, -1, 1.5, NaN, Infinity, '8'].map((value): [keyof TrainerConfig, unknown, RegExp] => [field, value, /it must be a positive whole number/])),
    ...(['lr_warm_up_steps', 'lr_decay_steps', 'seed'] as const)
      .flatMap((field) => [-1, 0.5, NaN, 2 ** 53].map((value): [keyof TrainerConfig, unknown, RegExp] => [field, value, /it must be zero or a positive whole number/])),
    ...(['lr', 'lr_end'] as const).flatMap((field) => [-1e-3, NaN, Infinity].map((value): [keyof TrainerConfig, unknown, RegExp] => [field, value, /it must be zero or a positive number/])),
    ...(['adam_beta1', 'adam_beta2'] as const).flatMap((field) => [-0.1, 1, NaN].map((value): [keyof TrainerConfig, unknown, RegExp] => [field, value, /it must be at least 0 and below 1/])),
    ['unit_norm_decoder', 1, /it must be true or false/],
    ...[[0], [2.5], [1, -1], ['3'], 3, 'all'].map((value): [keyof TrainerConfig, unknown, RegExp] => ['resample_steps', value, /it must be a list of positive whole numbers/]),
    ['b_dec_init_method', 'median', /it must be one of zeros, mean, geometric_median/],
    ['lr_scheduler_name', 'cosine', /it must be one of constant, cosineannealing, cosineannealingwarmrestarts/],
    ['total_training_samples', 100, /it must be at least one batch \(4096\)/],
  ];
  for (const field of new Set(impossible.map(([name]) => name))) {
    test(`refuses an impossible ${field}`, () => {
      for (const [name, value, must] of impossible) {
        if (name === field) assert.throws(() => trainerConfig({ [name]: value } as Partial<TrainerConfig>), refusal(field, must), `${field} ${value}`);
      }
    });
  }

  test('lr auto is 2e-4 / sqrt(d_sae / 2^14), and lr_end goes with it', () => {
    for (const [dSae, lr] of [[2 ** 14, 2e-4], [2 ** 16, 1e-4], [2 ** 12, 4e-4], [10_000, 2e-4 * 1.28]] as const) {
      const config = trainerConfig({ lr: 'auto' }, dSae);
      assert.ok(Math.abs(config.lr / lr - 1) < 1e-15 && config.lr_end === config.lr / 10, `${dSae}: ${config.lr}`);
    }
    assert.equal(trainerConfig({ lr: 'auto', lr_end: 1e-7 }, 512).lr_end, 1e-7);
    assert.deepEqual(trainerConfig(trainerConfig({ lr: 'auto' }, 512)), trainerConfig({ lr: 'auto' }, 512));
    assert.throws(() => trainerConfig({ lr: 'auto' }), (error: CochleaError) => error.code === 'config' && error.line === 'lr auto depends on d_sae: give a number, or the SAE\'s d_sae');
  });

  test('refuses phases that do not fit the run, and a decay from zero', () => {
    const run = { train_batch_size_samples: 10, total_training_samples: 109 };
    trainerConfig({ ...run, lr_warm_up_steps: 4, lr_decay_steps: 6 });
    assert.throws(() => trainerConfig({ ...run, lr_warm_up_steps: 5, lr_decay_steps: 6 }), (error: CochleaError) => (
      error.code === 'config' && error.line === '5 warm-up and 6 decay steps do not fit a run of 10 steps: lower them or train longer'));
    trainerConfig({ ...run, resample_steps: [3, 9] });
    for (const step of [10, 11]) {
      assert.throws(() => trainerConfig({ ...run, resample_steps: [3, step] }), (error: CochleaError) => (
        error.code === 'config' && error.line === `latents that begin anew after step ${step} are not trained in a run of 10 steps: lower resample_steps or train longer`));
    }
    const cosine = { ...run, lr_scheduler_name: 'cosineannealing', lr_end: 0 } as const;
    trainerConfig(cosine);
    assert.throws(() => trainerConfig({ ...cosine, lr_decay_steps: 1 }), refusal('lr_end', /it must be positive where a cosine schedule is followed by decay/));
  });
});

describe('topkConfig', () => {
  test('fills in SAELens\' defaults', () => {
    assert.deepEqual(topkConfig({ d_in: 8, d_sae: 128 }), {
      architecture: 'topk', d_in: 8, d_sae: 128, k: 100, apply_b_dec_to_input: true, normalize_activations: 'none', decoder_init_norm: 0.1,
      rescale_acts_by_decoder_norm: true, aux_loss_coefficient: 1, k_anneal_start: null, k_anneal_steps: 0, activation: 'topk',
    });
  });

  const impossible: [keyof TopkConfig, unknown[], RegExp][] = [
    ['d_in', [0, -8, 1.5, NaN], /it must be a positive whole number/],
    ['d_sae', [0, 2.5, Infinity], /it must be a positive whole number/],
    ['k', [0, 5.5, -1, NaN], /it must be a positive whole number/],
    ['k', [129], /it must be at most d_sae \(128\)/],
    ['decoder_init_norm', [0, -0.1, NaN, Infinity], /it must be a positive number or null/],
    ['aux_loss_coefficient', [-1, NaN, Infinity], /it must be zero or a positive number/],
    ['normalize_activations', ['layernorm', 'constant_scalar_rescale', 'toString', ''], /it must be one of none, expected_average_only_in, constant_norm_rescale, layer_norm/],
  ];
  for (const [field, values, must] of impossible) {
    test(`refuses an impossible ${field}`, () => {
      for (const value of values) assert.throws(() => topkConfig({ d_in: 8, d_sae: 128, [field]: value }), refusal(field, must), `${field} ${String(value)}`);
    });
  }

  test('takes what lies at the ends', () => {
    topkConfig({ d_in: 1, d_sae: 1, k: 1, decoder_init_norm: null, aux_loss_coefficient: 0 });
    topkConfig({ d_in: 8, d_sae: 128, k: 128, normalize_activations: 'expected_average_only_in' });
  });
});
