/** Whole runs: what they write, and what stops, damage and other settings do to them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type FrameSource, openTensorSource } from '../../src/activations/index.ts';
import { readSaelensFolder, writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { topkConfig, type TopkConfig } from '../../src/sae/index.ts';
import { readCheckpoint, writeCheckpoint } from '../../src/training/checkpoint.ts';
import { readMetrics, type RunOptions, trainerConfig, trainRun } from '../../src/training/index.ts';
import { fails } from '../support/fails.ts';
import { freshSeed } from '../support/mutate.ts';
import { plantedFrames } from '../support/planted.ts';

const dIn = 8, dSae = 48, batch = 32, steps = 20;
const seed = freshSeed('runs');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-run-'));
const place = (name: string): string => join(folder, name);
const data = place('x.safetensors');

let gpu: Gpu;
let source: FrameSource & { close(): Promise<void> };
before(async () => {
  gpu = await Gpu.open();
  await writeSafetensors(data, [{ name: 'x', dtype: 'F32', shape: [500, dIn], data: plantedFrames({ seed, dIn, features: 20, active: 2 }, 500) }]);
  source = await openTensorSource(data);
});
after(async () => {
  await source.close();
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

function options(out: string, given: Partial<RunOptions> & { trainingSeed?: number; lr?: number; runSteps?: number } = {}): RunOptions {
  const { trainingSeed = seed, lr = 3e-3, runSteps = steps, ...fields } = given;
  return {
    gpu, source, out: place(out), sae: topkConfig({ d_in: dIn, d_sae: dSae, k: 4, normalize_activations: 'expected_average_only_in' }),
    training: trainerConfig({
      train_batch_size_samples: batch, total_training_samples: batch * runSteps, lr, lr_warm_up_steps: 2, lr_decay_steps: 4, dead_feature_window: 3,
      feature_sampling_window: 6, seed: trainingSeed,
    }),
    centre: true, bufferRows: 128, shuffle: true, logEvery: 1, checkpointEvery: 3, ...fields,
  };
}

const written = ['cfg.json', 'input_mean.safetensors', 'manifest.json', 'metrics.jsonl', 'run.json', 'sae_weights.safetensors', 'sparsity.safetensors'];
/** The files that do not name the folder or the call that wrote them. */
const results = written.filter((name) => name !== 'run.json');
const bytesOf = (out: string): Record<string, string> => Object.fromEntries(results.map((name) => [name, createHash('sha256').update(readFileSync(join(place(out), name))).digest('hex')]));

/** Options of a run that aborts after a step. */
function stoppedAfter(step: number): Partial<RunOptions> {
  const controller = new AbortController();
  return { signal: controller.signal, onProgress: ({ metrics }) => void (metrics.step >= step && controller.abort()) };
}

/** Reference run, made once. */
let reference: Record<string, string> | undefined;
async function referenceRun(): Promise<Record<string, string>> {
  if (!reference) {
    await trainRun(options('reference'));
    reference = bytesOf('reference');
  }
  return reference;
}

describe('a run', () => {
  test('writes an SAE that reads back, its metrics, what it was, and no checkpoint', async () => {
    const result = await trainRun(options('reference'));
    reference = bytesOf('reference');
    assert.deepEqual(readdirSync(place('reference')), written);
    assert.deepEqual([result.steps, result.trained, result.final.step, result.dropped], [steps, steps, steps, 0]);
    const { config, form, tensors, logSparsity } = await readSaelensFolder(place('reference'));
    assert.deepEqual([form, config.architecture, config.d_in, config.d_sae, config['k'], config.normalize_activations], ['inference', 'topk', dIn, dSae, 4, 'none']);
    assert.deepEqual([...tensors.keys()].sort(), ['W_dec', 'W_enc', 'b_dec', 'b_enc']);
    assert.equal(logSparsity!.length, dSae);
    assert.equal(config.metadata['hook_name'], 'x.safetensors');
    const metrics = await readMetrics(join(place('reference'), 'metrics.jsonl'));
    assert.deepEqual(metrics.map(({ step }) => step), Array.from({ length: steps }, (_, n) => n + 1));
    assert.deepEqual(metrics.at(-1), result.final);
    assert.ok(metrics.some(({ dead }) => dead > 0), 'no latent ever died');
    // The firings of the last one to two sampling windows: steps 13 to 20, counted from the reset in step 12.
    const firing = [...logSparsity!].reduce((sum, value) => sum + (10 ** value - 1e-10), 0);
    const expected = metrics.slice(11).reduce((sum, { l0 }) => sum + l0, 0);
    assert.ok(Math.abs(firing * (9 + 6) - expected - metrics.slice(5, 11).reduce((sum, { l0 }) => sum + l0, 0)) < 1e-3, `${firing * 15} firings`);
    const record = JSON.parse(readFileSync(join(place('reference'), 'run.json'), 'utf8')) as Record<string, unknown>;
    assert.deepEqual([record['centre'], record['mixing_buffer'], record['shuffle']], [true, 128, true]);
  });

  test('leaves the same bytes when it is made again, and others with another seed', async () => {
    const expected = await referenceRun();
    await trainRun(options('again'));
    assert.deepEqual(bytesOf('again'), expected);
    await trainRun(options('other', { trainingSeed: seed + 1 }));
    const other = bytesOf('other');
    for (const name of ['metrics.jsonl', 'sae_weights.safetensors']) assert.notEqual(other[name], expected[name], name);
  });

  test('logs every n-th step, the first and the last', async () => {
    await trainRun(options('sparse-log', { logEvery: 7, checkpointEvery: 0 }));
    assert.deepEqual((await readMetrics(join(place('sparse-log'), 'metrics.jsonl'))).map(({ step }) => step), [1, 7, 14, 20]);
  });

  test('that was stopped anywhere goes on to the same bytes', async () => {
    const expected = await referenceRun();
    const random = new RandomStream(seed, 1300);
    const stops = [1, 2 + random.below(6), 9 + random.below(6), 16 + random.below(3)];
    const notices: string[] = [];
    for (const step of stops) {
      const stopped = trainRun(options('stopped', { ...stoppedAfter(step), resume: true, onNotice: (line) => notices.push(line) }));
      await assert.rejects(stopped, fails('interrupted', /^stopped after step \d+ of 20: the same command with --resume goes on from here$/));
      assert.ok(existsSync(join(place('stopped'), 'checkpoints')) && !existsSync(join(place('stopped'), 'cfg.json')));
    }
    const result = await trainRun(options('stopped', { resume: true, onNotice: (line) => notices.push(line) }));
    assert.ok(result.trained < steps);
    assert.match(notices[0]!, /no checkpoint in .*stopped: starting from the beginning/);
    assert.match(notices.at(-1)!, /^going on after step 1\d$/);
    assert.deepEqual(bytesOf('stopped'), expected, `stops ${stops}`);
    assert.deepEqual(readdirSync(place('stopped')), written);
  });

  test('heeds a stop while a window is being read, and loses nothing by it', async () => {
    const expected = await referenceRun();
    // Windows of 128 rows are 4 batches of 32: the stop comes while the third one is read, ten rows at a time.
    const controller = new AbortController();
    let chunks = 0;
    const slow = (stopAt: number): FrameSource => ({
      dIn, info: source.info, rows: source.rows, statistics: () => source.statistics(),
      async* chunks(which) {
        let place = 0;
        for await (const chunk of source.chunks({ ...which, from: 0 })) {
          for (let row = 0; row < chunk.rows; row += 10) {
            if (place++ < which.from) continue;
            const rows = Math.min(10, chunk.rows - row);
            if (++chunks === stopAt) controller.abort();
            yield { ...chunk, rows, x: chunk.x.subarray(row * dIn, (row + rows) * dIn), clip: chunk.clip.subarray(row, row + rows), time: chunk.time.subarray(row, row + rows) };
          }
        }
      },
    });
    await assert.rejects(trainRun(options('waiting', { source: slow(32), signal: controller.signal })), fails('interrupted', /^stopped after step 8 of 20: /));
    assert.ok(chunks <= 33, `${chunks - 32} chunks were read after the stop`);
    await trainRun(options('waiting', { source: slow(Infinity), resume: true }));
    assert.deepEqual(bytesOf('waiting'), expected);
  });

  test('stopped before its first step leaves nothing to go on from', async () => {
    await assert.rejects(trainRun(options('early', { signal: AbortSignal.abort() })), fails('interrupted', /^stopped after step 0 of 20$/));
    assert.ok(!existsSync(join(place('early'), 'checkpoints')));
    await trainRun(options('early'));
    assert.deepEqual(bytesOf('early'), await referenceRun());
  });

  test('that ends in numbers that are none names the step and leaves no SAE', async () => {
    await assert.rejects(trainRun(options('blown-up', { lr: 1e38, checkpointEvery: 0 })), fails('not-finite', /^step \d+: the loss, a gradient or a pre-activation is NaN or infinite: /));
    assert.ok(!existsSync(join(place('blown-up'), 'cfg.json')));
    // The last update has no step after it that would notice.
    const last = trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch, lr: 1e39, seed });
    await assert.rejects(trainRun(options('blown-up-last', { training: last })), fails('not-finite', /^W_\w+ is NaN or infinite after step 1: lower the learning rate or check the frames$/));
    for (const name of ['cfg.json', 'sae_weights.safetensors', 'input_mean.safetensors']) assert.ok(!existsSync(join(place('blown-up-last'), name)), name);
  });

  test('of frames that are not finite names the place, or drops and counts them', async () => {
    const path = place('holes.safetensors');
    const x = plantedFrames({ seed, dIn, features: 20, active: 2 }, 200);
    x[17 * dIn + 3] = NaN;
    x[150 * dIn] = -Infinity;
    await writeSafetensors(path, [{ name: 'x', dtype: 'F32', shape: [200, dIn], data: x }]);
    const holes = await openTensorSource(path);
    await assert.rejects(trainRun(options('holes', { source: holes, shuffle: false })), fails('not-finite', /17\.00 s of clip "holes\.safetensors".* holds NaN or infinity/));
    const { dropped } = await trainRun(options('holes', { source: holes, dropNonFinite: true, runSteps: 6, bufferRows: 192 })); // one window of 192 of the 198 good rows
    assert.equal(dropped, 2);
    await holes.close();
  });
});

describe('an --out folder', () => {
  test('with a run in it is left alone', async () => {
    const expected = await referenceRun();
    await assert.rejects(trainRun(options('reference')), fails('file-exists', /reference holds a run already: go on with it by --resume, or choose another --out$/));
    await assert.rejects(trainRun(options('unfinished', stoppedAfter(4))), fails('interrupted', /./));
    await assert.rejects(trainRun(options('unfinished')), fails('file-exists', /unfinished holds a run already/));
    assert.deepEqual(bytesOf('reference'), expected);
  });

  test('with activations in it is refused, resumed or not: both have a manifest.json', async () => {
    mkdirSync(place('store'));
    writeFileSync(join(place('store'), 'manifest.json'), '{"format":"cochlea activations","version":1}');
    for (const resume of [false, true]) {
      await assert.rejects(trainRun(options('store', { resume })), fails('file-exists', /store has a manifest\.json that is none of a run, as activations have: it would be lost: choose another --out$/));
    }
    assert.deepEqual(readdirSync(place('store')), ['manifest.json']);
    assert.match(readFileSync(join(place('store'), 'manifest.json'), 'utf8'), /cochlea activations/);
  });

  test('with a finished run: resuming does nothing and says so by its result', async () => {
    const expected = await referenceRun();
    const record = readFileSync(join(place('reference'), 'run.json'), 'utf8');
    const result = await trainRun(options('reference', { resume: true }));
    assert.deepEqual([result.trained, result.steps, result.final.step], [0, steps, steps]);
    assert.deepEqual(bytesOf('reference'), expected);
    assert.equal(readFileSync(join(place('reference'), 'run.json'), 'utf8'), record);
  });

  test('with a finished run is never overwritten by one with other settings', async () => {
    const expected = await referenceRun();
    await assert.rejects(trainRun(options('reference', { resume: true, runSteps: 30 })),
      fails('config', /was started with other settings: training\.total_training_samples was 640 and is 960: repeat them, or start anew into another --out$/));
    await assert.rejects(trainRun(options('reference', { resume: true, lr: 1e-3 })), fails('config', /training\.lr was 0\.003 and is 0\.001/));
    assert.deepEqual(bytesOf('reference'), expected);
  });

  test('with an SAE that was not trained there is refused', async () => {
    await referenceRun();
    mkdirSync(place('foreign'));
    for (const name of ['cfg.json', 'sae_weights.safetensors']) cpSync(join(place('reference'), name), join(place('foreign'), name));
    await assert.rejects(trainRun(options('foreign', { resume: true })), fails('file-exists', /foreign holds an SAE that was not trained here: choose another --out$/));
    await assert.rejects(trainRun(options('foreign')), fails('file-exists', /./));
    assert.deepEqual(readdirSync(place('foreign')), ['cfg.json', 'sae_weights.safetensors']);
  });

  test('in which two processes train keeps what the first to finish left: the other stops', async () => {
    const expected = await referenceRun();
    let epochs = 0, reached!: () => void, goOn!: () => void;
    const waits = new Promise<void>((resolve) => reached = resolve), gate = new Promise<void>((resolve) => goOn = resolve);
    const slow: FrameSource = {
      dIn, info: source.info, rows: source.rows, statistics: () => source.statistics(),
      async* chunks(order) {
        if (++epochs === 2) {
          reached();
          await gate;
        }
        yield* source.chunks(order);
      },
    };
    const first = trainRun(options('shared', { source: slow }));
    first.catch(() => {}); // it is awaited below
    await waits;
    await trainRun(options('shared', { resume: true }));
    goOn();
    await assert.rejects(first, fails('file-exists', /^another process writes to .*shared: .*metrics\.jsonl has \d+ bytes, not \d+: let it finish, or end it and resume$/));
    assert.deepEqual(bytesOf('shared'), expected);
    assert.deepEqual(readdirSync(place('shared')), written);
  });

  test('of a run that was killed while it removed its checkpoints counts as finished', async () => {
    const expected = await referenceRun();
    cpSync(place('reference'), place('half-removed'), { recursive: true });
    mkdirSync(join(place('half-removed'), 'checkpoints', 'step-00000018'), { recursive: true });
    writeFileSync(join(place('half-removed'), 'checkpoints', 'step-00000018', 'state.safetensors'), 'half');
    assert.equal((await trainRun(options('half-removed', { resume: true }))).trained, 0);
    assert.deepEqual(readdirSync(place('half-removed')), written);
    assert.deepEqual(bytesOf('half-removed'), expected);
  });
});

describe('resuming', () => {
  const start = 'interrupted';
  before(async () => {
    await assert.rejects(trainRun(options(start, stoppedAfter(10))), fails('interrupted', /./));
  });
  const copy = (name: string): string => {
    cpSync(place(start), place(name), { recursive: true });
    return join(place(name), 'checkpoints');
  };

  test('with other settings is refused and names each difference', async () => {
    copy('changed');
    const changed: [Partial<RunOptions> & { trainingSeed?: number; lr?: number }, RegExp][] = [
      [{ trainingSeed: seed + 1 }, new RegExp(`training\\.seed was ${seed} and is ${seed + 1}`)],
      [{ sae: topkConfig({ ...options('').sae as TopkConfig, k: 5 }), lr: 0.5 }, /sae\.k was 4 and is 5; training\.lr was 0\.003 and is 0\.5/],
      [{ centre: false }, /centre was true and is false/],
      [{ shuffle: false, bufferRows: 64 }, /mixing_buffer was 128 and is 64; shuffle was true and is false/],
      [{ dropNonFinite: true }, /drop_non_finite was false and is true/],
      [{ compatibility: 'saelens-6.18' }, /compatibility was "corrected" and is "saelens-6\.18"/],
    ];
    for (const [fields, message] of changed) await assert.rejects(trainRun(options('changed', { resume: true, ...fields })), fails('config', message));
  });

  test('with other data is refused', async () => {
    copy('data');
    const path = place('elsewhere.safetensors');
    await writeSafetensors(path, [{ name: 'x', dtype: 'F32', shape: [500, dIn], data: plantedFrames({ seed: seed + 1, dIn, features: 20, active: 2 }, 500) }]);
    const other = await openTensorSource(path);
    await assert.rejects(trainRun(options('data', { resume: true, source: other })), fails('config', /activations\.hook was "x\.safetensors" and is "elsewhere\.safetensors"; activations\.dataSha256 was "[0-9a-f]{64}" and is /));
    await other.close();
  });

  test('keeps two checkpoints, passes over a damaged one with a notice, and ends with the same bytes', async () => {
    const random = new RandomStream(seed, 1301);
    for (const [n, file] of ['state.json', 'state.safetensors', 'state.safetensors'].entries()) {
      const checkpoints = copy(`damaged-${n}`);
      const names = readdirSync(checkpoints);
      assert.equal(names.length, 2);
      const path = join(checkpoints, names[1]!, file);
      const bytes = readFileSync(path);
      // In the JSON, a digit: it stays JSON and only its checksum can tell.
      const digits = [...bytes.keys()].filter((at) => file === 'state.safetensors' || (bytes[at]! >= 0x31 && bytes[at]! <= 0x38));
      const at = digits[random.below(digits.length)]!;
      bytes[at] = bytes[at]! ^ (file === 'state.json' ? 1 : 1 << random.below(8));
      writeFileSync(path, bytes);
      const notices: string[] = [];
      await trainRun(options(`damaged-${n}`, { resume: true, onNotice: (line) => notices.push(line) }));
      assert.match(notices[0]!, new RegExp(`^passed over a damaged checkpoint: .*${names[1]}.*`), `byte ${at} of ${file}`);
      assert.match(notices[1]!, new RegExp(`^going on after step ${Number(names[0]!.slice(5))}$`));
      assert.deepEqual(bytesOf(`damaged-${n}`), await referenceRun());
    }
  });

  test('passes over what a killed write left', async () => {
    const checkpoints = copy('partial');
    mkdirSync(join(checkpoints, 'step-00000012.partial'));
    writeFileSync(join(checkpoints, 'step-00000012.partial', 'state.safetensors'), 'half');
    await trainRun(options('partial', { resume: true }));
    assert.deepEqual(bytesOf('partial'), await referenceRun());
  });

  test('leaves two whole checkpoints, whatever a kill or damage has left, and writes none over itself', async () => {
    const checkpoints = copy('left');
    const newest = readdirSync(checkpoints).at(-1)!;
    for (const name of ['step-00000019', 'step-00000013.partial']) {
      mkdirSync(join(checkpoints, name));
      writeFileSync(join(checkpoints, name, 'state.json'), 'half');
    }
    await assert.rejects(trainRun(options('left', { resume: true, checkpointEvery: 1, ...stoppedAfter(0) })), fails('interrupted', /./));
    const next = `step-${String(Number(newest.slice(5)) + 1).padStart(8, '0')}`;
    assert.deepEqual(readdirSync(checkpoints), [newest, next]);
    const { checkpoint, problems } = (await readCheckpoint(place('left')))!;
    assert.deepEqual([checkpoint.step, problems], [Number(next.slice(5)), []]);
    const { ino } = statSync(join(checkpoints, next));
    await writeCheckpoint(place('left'), checkpoint);
    assert.equal(statSync(join(checkpoints, next)).ino, ino);
    await trainRun(options('left', { resume: true }));
    assert.deepEqual(bytesOf('left'), await referenceRun());
  });

  test('from damaged checkpoints alone is refused, and nothing is overwritten', async () => {
    const checkpoints = copy('hopeless');
    const names = readdirSync(checkpoints);
    rmSync(join(checkpoints, names[0]!, 'state.json'));
    writeFileSync(join(checkpoints, names[1]!, 'state.json'), '{');
    await assert.rejects(trainRun(options('hopeless', { resume: true })), fails('file-damaged', /step-\d+.*state\.json is not JSON; no such file.*: no checkpoint in .*hopeless is whole: train anew into another folder$/));
    assert.deepEqual(readdirSync(checkpoints), names);
  });

  test('drops the lines that metrics.jsonl had gone on with, also a torn one', async () => {
    copy('torn');
    const path = join(place('torn'), 'metrics.jsonl');
    const lines = readFileSync(path, 'utf8');
    writeFileSync(path, `${lines}${lines.split('\n')[0]!.replace('"step":1,', '"step":19,')}\n{"step":20,"deta`);
    await trainRun(options('torn', { resume: true }));
    assert.deepEqual(bytesOf('torn'), await referenceRun());
  });
});

test('frames that are all alike, and centring with a row normalisation, are refused', async () => {
  const path = place('constant.safetensors');
  await writeSafetensors(path, [{ name: 'x', dtype: 'F32', shape: [64, dIn], data: new Float32Array(64 * dIn).fill(2) }]);
  const constant = await openTensorSource(path);
  await assert.rejects(trainRun(options('constant', { source: constant })), fails('config', /the frames have a spread of 0: nothing can be learned from frames that are all alike$/));
  await constant.close();
  await assert.rejects(trainRun(options('centred', { sae: topkConfig({ d_in: dIn, d_sae: dSae, k: 4, normalize_activations: 'layer_norm' }) })), fails('config', /centred frames and normalize_activations layer_norm cannot be folded/));
});
