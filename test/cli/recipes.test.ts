/** Recipes: what they say, what `train --recipe` makes of them, and that the page about them says the same. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Command } from 'commander';
import { applyConfigFile } from '../../cli/support/config-file.ts';
import { countSteps, recipeRecord } from '../../cli/support/recipe.ts';
import { oneSae, type RunSize, type TrainingFlags } from '../../cli/support/training-options.ts';
import { trainCommand } from '../../cli/train.ts';
import { writeSafetensors } from '../../src/formats/index.ts';
import { type Recipe, recipeConfig, recipes, recipesPage, recipeText } from '../../src/recipes/index.ts';
import { cochlea, complaint } from '../support/cli.ts';
import { repo } from '../support/paths.ts';
import { plantedFrames } from '../support/planted.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-recipes-'));
after(() => rmSync(folder, { recursive: true }));
const place = (name: string): string => join(folder, name);

/** `cochlea train ARGS` up to where it would begin. */
async function parsed(...args: string[]): Promise<Command> {
  const command = trainCommand().action(() => {});
  const program = new Command('cochlea').hook('preAction', (_, self) => applyConfigFile(self)).addCommand(command); // as main.ts has it
  await program.parseAsync(['train', '--activations', 'x.npy', '--out', 'out', ...args], { from: 'user' });
  return command;
}

const saeOf = (command: Command, dIn = 768) => oneSae(command, command.opts<TrainingFlags & RunSize>(), dIn);

const named = (name: string): Recipe => recipes.find((recipe) => recipe.name === name)!;

describe('each recipe', () => {
  for (const recipe of recipes) {
    test(`${recipe.name} says where every value comes from, and what it leaves to which flag`, () => {
      const used = new Set([...recipe.settings, ...recipe.facts].map(({ from }) => from));
      assert.deepEqual([...used].sort(), Object.keys(recipe.sources).sort());
      const known = new Set(trainCommand().options.flatMap(({ long }) => [long!.slice(2), long!.replace(/^--no-/, '')]));
      const set = new Set(Object.keys(recipeConfig(recipe)));
      for (const { what, flags = [], instead } of recipe.unknown) {
        assert.notEqual(flags.length > 0, instead !== undefined, what);
        for (const flag of flags) assert.deepEqual([flag, known.has(flag), set.has(flag)], [flag, true, false]);
      }
      assert.ok(recipe.unknown.length > 0 && recipe.notReproduced.length > 0 && recipe.settings.length === set.size);
    });

    test(`${recipe.name} is a configuration that can be trained, and the same as its --json config in a file`, async () => {
      const command = await parsed('--recipe', recipe.name);
      countSteps(command, 2000);
      const { sae } = saeOf(command);
      assert.equal(sae.architecture, recipeConfig(recipe)['arch']);
      assert.deepEqual(recipeRecord(command), { name: recipe.name, overrides: {}, not_reproduced: recipe.notReproduced });
      writeFileSync(place('config.json'), JSON.stringify(recipeConfig(recipe)));
      const filed = await parsed('--config', place('config.json'));
      countSteps(filed, 2000);
      assert.deepEqual(saeOf(filed), saeOf(command));
    });
  }

  test('comes out with the numbers of its paper', async () => {
    const of = async (name: string) => {
      const command = await parsed('--recipe', name);
      countSteps(command, 1600);
      const { sae, training, centre } = saeOf(command);
      const fields = sae as unknown as Record<string, unknown>;
      return [sae.architecture, sae.d_sae, fields['k'], training.lr, training.train_batch_size_samples, training.total_training_samples / training.train_batch_size_samples, training.lr_decay_steps, centre];
    };
    assert.deepEqual(await of('audiosae'), ['batchtopk', 6144, 50, 2e-4, 2500, 200_000, 40_000, true]);
    // 100 epochs of 1600 rows, 16 at a time; int((1 - 0.9) * 2048) = 204
    assert.deepEqual(await of('mariotte'), ['topk', 2048, 204, 1e-3, 16, 10_000, 0, false]);
    assert.deepEqual((await of('ard')).slice(0, 4), ['topk', 6144, 250, 1e-5]);
    assert.deepEqual((await of('plantinga-pd')).slice(0, 2), ['gated', 64]);
    assert.deepEqual((await of('paek')).slice(0, 2), ['standard', 6144]);
    for (const [sparsity, k] of [[0.75, 512], [0.8, 409], [0.85, 307], [0.9, 204], [0.95, 102], [0.99, 20]]) assert.equal(Math.floor((1 - sparsity!) * 2048), k);
  });
});

describe('what is given beside a recipe', () => {
  test('wins, from the command line and from a file, and is recorded', async () => {
    writeFileSync(place('own.json'), JSON.stringify({ lr: 5e-4, k: 40 }));
    const command = await parsed('--recipe', 'audiosae', '--config', place('own.json'), '--k', '30', '--no-centre', '--seed', '7');
    const { sae, training, centre } = saeOf(command);
    assert.deepEqual([(sae as unknown as { k: number }).k, training.lr, centre, training.seed], [30, 5e-4, false, 7]);
    assert.deepEqual(recipeRecord(command)!.overrides, { k: { recipe: 50, run: 30 }, lr: { recipe: 2e-4, run: 5e-4 }, seed: { recipe: null, run: 7 }, centre: { recipe: null, run: false } });
  });

  test('of two flags that say one thing, puts the recipe\'s aside', async () => {
    const wide = await parsed('--recipe', 'audiosae', '--d-sae', '1000');
    assert.deepEqual([saeOf(wide).sae.d_sae, recipeRecord(wide)!.overrides['expansion']], [1000, { recipe: 8, run: null }]);
    assert.equal(saeOf(await parsed('--recipe', 'mariotte', '--expansion', '2')).sae.d_sae, 1536);
    const steps = await parsed('--recipe', 'mariotte', '--steps', '50');
    countSteps(steps, undefined);
    assert.equal(saeOf(steps).training.total_training_samples, 50 * 16);
    await assert.rejects(parsed('--steps', '5', '--epochs', '2'), /--steps and --epochs exclude each other/);
  });

  test('as another length of the run keeps the schedules\' shares of it', async () => {
    const command = await parsed('--recipe', 'audiosae', '--steps', '500');
    assert.equal(saeOf(command).training.lr_decay_steps, 100);
    assert.deepEqual(recipeRecord(command)!.overrides, { lrDecaySteps: { recipe: 40_000, run: 100 }, steps: { recipe: 200_000, run: 500 } });
    assert.equal(saeOf(await parsed('--recipe', 'audiosae', '--steps', '500', '--lr-decay-steps', '7')).training.lr_decay_steps, 7);
    const epochs = await parsed('--recipe', 'audiosae', '--epochs', '2');
    countSteps(epochs, 250_000);
    assert.deepEqual([epochs.getOptionValue('steps'), saeOf(epochs).training.lr_decay_steps], [200, 40]);
  });

  test('as another architecture leaves out what only the recipe\'s has', async () => {
    const command = await parsed('--recipe', 'audiosae', '--arch', 'gated');
    assert.deepEqual([saeOf(command).sae.architecture, saeOf(command).sae.d_sae], ['gated', 6144]);
    assert.deepEqual(recipeRecord(command)!.overrides['k'], { recipe: 50, run: null });
  });

  test('an epoch of unknown length is refused', async () => {
    const command = await parsed('--recipe', 'mariotte');
    assert.throws(() => countSteps(command, undefined), /how long an epoch is cannot be known/);
  });
});

describe('cochlea recipes', () => {
  test('is the page docs/recipes.md, which `cochlea recipes --markdown` prints', () => {
    assert.equal(readFileSync(repo('docs', 'recipes.md'), 'utf8'), recipesPage(recipes), 'cochlea recipes --markdown > docs/recipes.md');
  });

  test('lists all, shows one, and refuses other names with the list', async () => {
    const [list, one, json, unknown] = await Promise.all([['recipes'], ['recipes', 'paek'], ['recipes', 'ard', '--json'], ['recipes', 'sparse']].map((args) => cochlea(args)));
    assert.deepEqual([list!.code, list!.stdout.split('\n').slice(0, 6).map((line) => line.split(' ')[0])], [0, ['name', 'audiosae', 'mariotte', 'ard', 'plantinga-pd', 'paek']]);
    assert.equal(one!.stdout, `${recipeText(named('paek'))}\n`);
    assert.deepEqual((JSON.parse(json!.stdout) as { config: unknown }).config, { arch: 'topk', expansion: 8, k: 250, lr: 1e-5 });
    assert.equal(complaint(unknown!), 'cochlea: no recipe is known as \'sparse\': known are audiosae, mariotte, ard, plantinga-pd, paek');
    assert.equal(unknown!.code, 2);
  });
});

describe('train --recipe', { skip: 'Deno' in globalThis ? 'training itself is tested there elsewhere' : false }, () => {
  test('trains, says what it does otherwise, and leaves both in run.json', async () => {
    const x = place('x.safetensors');
    await writeSafetensors(x, [{ name: 'x', dtype: 'F32', shape: [160, 8], data: plantedFrames({ seed: 5, dIn: 8, features: 16, active: 2 }, 160) }]);
    const { code, stdout, stderr } = await cochlea(['train', '--recipe', 'mariotte', '--activations', x, '--out', place('run'), '--d-sae', '32', '--k', '3', '--epochs', '0.5', '--json']);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^recipe mariotte, but not as in the paper: a decoder without bias .*; .* \(see cochlea recipes mariotte\)$/m);
    assert.equal((JSON.parse(stdout) as { steps: number }).steps, 5); // 80 rows, 16 at a time
    const run = JSON.parse(readFileSync(join(place('run'), 'run.json'), 'utf8')) as Record<string, Record<string, unknown>>;
    assert.deepEqual(run['recipe'], {
      name: 'mariotte', not_reproduced: named('mariotte').notReproduced,
      overrides: { k: { recipe: 204, run: 3 }, dSae: { recipe: 2048, run: 32 }, epochs: { recipe: 100, run: 0.5 } },
    });
    assert.deepEqual([run['sae']!['k'], run['sae']!['aux_loss_coefficient'], run['training']!['lr'], run['centre']], [3, 0, 0.001, false]);
    assert.equal((JSON.parse(readFileSync(join(place('run'), 'cfg.json'), 'utf8')) as { architecture: string }).architecture, 'topk');
  });

  test('refuses an unknown recipe with the list, and pooling of what is stored', async () => {
    const refused = async (...args: string[]): Promise<string> => complaint(await cochlea(['train', '--activations', 'x.npy', '--out', place('none'), ...args]));
    assert.equal(await refused('--recipe', 'AudioSAE2'), 'cochlea: no recipe is known as \'AudioSAE2\': known are audiosae, mariotte, ard, plantinga-pd, paek');
    assert.match(await refused('--pool-seconds', '5'), /^cochlea: --pool-seconds is for recordings: stored frames are pooled when/);
  });
});
