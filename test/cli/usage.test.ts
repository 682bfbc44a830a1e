/** What the command line says to those who ask and to those who err. Nothing here reaches a GPU. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { knownModels } from '../../src/encoders/index.ts';
import { writeSafetensors } from '../../src/formats/index.ts';
import { cochlea, complaint } from '../support/cli.ts';
import { repo } from '../support/paths.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-usage-'));
const x = join(folder, 'x.safetensors');
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
before(() => writeSafetensors(x, [{ name: 'x', dtype: 'F32', shape: [100, 4], data: Float32Array.from({ length: 400 }, (_, i) => Math.sin(i)) }]));
after(() => rmSync(folder, { recursive: true }));

/** Every command line must end with this code and say one line that matches. Two run at a time. */
async function refused(code: number, cases: readonly (readonly [string[], RegExp])[]): Promise<void> {
  const queue = [...cases];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const outcome = await cochlea(next[0], { cwd: folder });
      assert.match(complaint(outcome), next[1]);
      assert.equal(outcome.code, code, next[0].join(' '));
    }
  };
  await Promise.all([work(), work()]);
}

test('--help and --version print and end with 0, for the program and every command', async () => {
  const { code, stdout } = await cochlea(['--help']);
  assert.equal(code, 0);
  assert.match(stdout, /^Usage: cochlea \[options\] \[command\]\n\nTrain, evaluate and explore sparse autoencoders/);
  const commands = [...stdout.split('-h, --help')[1]!.matchAll(/^ {2}([a-z]+)/gm)].map((match) => match[1]!).filter((name) => name !== 'help');
  for (const name of ['train', 'eval', 'encode', 'extract', 'info', 'models', 'hooks', 'devices', 'demo']) assert.ok(commands.includes(name), name);
  const helps = await Promise.all(commands.map(async (name) => ({ name, ...await cochlea([name, '--help']) })));
  for (const help of helps) {
    assert.deepEqual([help.code, help.stderr], [0, ''], help.name);
    assert.match(help.stdout, new RegExp(`^Usage: cochlea ${help.name} `));
    assert.match(help.stdout, /-h, --help/);
  }
  for (const help of helps.filter(({ stdout }) => stdout.includes('--backend <name>'))) assert.equal(/that\s+on\s+the\s+GPU/.test(help.stdout), help.stdout.includes('"gpu"'), help.name);
  const evaluation = helps.find(({ name }) => name === 'eval')!.stdout;
  assert.match(evaluation, /Metrics:[^]*explained_variance \(share\): .{20}/);
  const { version } = JSON.parse(readFileSync(repo('package.json'), 'utf8')) as { version: string };
  assert.equal((await cochlea(['--version'])).stdout, `${version}\n`);
});

test('wrong usage is one line, with what may have been meant, and code 2', () => refused(2, [
  [['trian'], /^cochlea: unknown command 'trian': did you mean train\? --help shows what is possible$/],
  [['train', '--stepz', '3'], /^cochlea: unknown option '--stepz': did you mean --steps\? --help shows what is possible$/],
  [['info', '.', '--quiet'], /^cochlea: unknown option '--quiet': --help shows what is possible$/],
  [['info'], /^cochlea: missing required argument 'folder': --help/],
  [['encode', 'sae', x], /^cochlea: required option '--out <file>' not specified: --help/],
  [['train', 'extra', '--out', 'q'], /^cochlea: too many arguments for 'train'\. Expected 0 arguments but got 1\./],
  [['train', '--activations', x], /^cochlea: --out <folder> is not given: see cochlea train --help$/],
  [['train', '--out', 'q'], /^cochlea: neither --activations nor --audio is given: give one of them$/],
  [['train', '--out', 'q', '--activations', x, '--audio', 'a'], /^cochlea: --activations and --audio exclude each other: give one of them$/],
  [['train', '--out', './q/', '--activations', 'q'], /^cochlea: --out \.\/q\/ is where the activations are: choose another --out$/],
  [['train', '--out', 'q', '--audio', 'a'], /^cochlea: --audio needs --model: see `cochlea models`/],
  [['train', '--out', 'q', '--activations', x, '--d-sae', '8', '--expansion', '2'], /^cochlea: --d-sae and --expansion exclude each other: give one of them$/],
  ...[
    '--take 3', '--select split=train', '--strict', '--model m', '--hook h', '--offline', '--workers 2', '--threads 1', '--backend wasm',
  ].flatMap((given) => ['train --out q', 'eval sae'].map((command): [string[], RegExp] => [
    [...command.split(' '), '--activations', x, ...given.split(' ')],
    new RegExp(`^cochlea: ${given.split(' ')[0]} is for recordings, and --activations are stored frames: leave it away, or give --audio$`),
  ])),
  [['train', '--out', 'q', '--activations', x, '--config', file('take.json', '{"take": 3}')], /^cochlea: --take is for recordings, and --activations are stored frames/],
  [['eval', 'sae', '--activations', x, '--pool-seconds', '2'], /^cochlea: --pool-seconds is for recordings/],
  [['train', '--out', 'q', '--activations', x, '--lr-end', '1e-5'], /^cochlea: --lr-end does nothing here: it goes with --lr-scheduler cosineannealing or cosineannealingwarmrestarts$/],
  [['train', '--out', 'q', '--activations', x, '--lr-scheduler', 'cosineannealing', '--n-restart-cycles', '2'], /^cochlea: --n-restart-cycles does nothing here: it goes with --lr-scheduler cosineannealingwarmrestarts$/],
  [['train', '--out', 'q', '--activations', x, '--arch', 'transcoder', '--k', '4', '--l1-coefficient', '2'], /^cochlea: --l1-coefficient does nothing here: it goes without --k$/],
  [['train', '--out', 'q', '--activations', x, '--arch', 'skip_transcoder', '--aux-loss-coefficient', '2'], /^cochlea: --aux-loss-coefficient does nothing here: it goes with --k$/],
  [['train', '--out', 'q', '--activations', x, '--saes', file('idle.json', '[{"name": "a", "lr-end": 1e-5}]')], /^cochlea: .*idle\.json, SAE 1: --lr-end does nothing here: it goes with --lr-scheduler/],
  [['train', '--out', 'q', '--activations', x, '--saes', file('plain.json', '[{"name": "a"}, {"name": "b", "lr-scheduler": "cosineannealing"}]'), '--n-restart-cycles', '2'], /^cochlea: --n-restart-cycles does nothing here: it goes with/],
  [['verify', '--steps', '201'], /^cochlea: --steps is 201: the fixed job has 200$/],
  [['extract', '--audio', 'a', '--model', 'm', '--out', 'q'], /^cochlea: --hook <hook> is not given: see cochlea extract --help$/],
]));

test('a number that cannot be is refused with what it must be, and code 2', () => refused(2, [
  [['train', '--k', 'abc'], /^cochlea: option '--k <n>' argument 'abc' is invalid\. It must be a number\. --help/],
  [['train', '--out', 'q', '--activations', x, '--k', '1.5'], /^cochlea: k is 1\.5: it must be a positive whole number$/],
  [['train', '--steps', '1.5'], /It must be a whole number of at least 1\./],
  [['train', '--steps', ''], /It must be a whole number of at least 1\./],
  [['train', '--batch-size=0'], /It must be a whole number of at least 1\./],
  [['train', '--seed', '-1'], /'--seed <n>' argument '-1' is invalid\. It must be a whole number of at least 0\./],
  [['train', '--lr', 'Infinity'], /It must be a positive number\./],
  [['train', '--lr-end', '-1e-3'], /It must be zero or a positive number\./],
  [['train', '--lr-scheduler', 'cosine'], /Allowed choices are constant, cosineannealing, cosineannealingwarmrestarts\./],
  [['eval', 'sae', '--select', 'speaker'], /It must be LABEL=VALUE\./],
  [['train', '--out', 'q', '--activations', x, '--k', '1000'], /^cochlea: k is 1000: it must be at most d_sae \(32\)$/],
  [['train', '--out', 'q', '--activations', x, '--expansion', '0.01'], /^cochlea: d_sae is 0: it must be a positive whole number$/],
  [['train', '--out', 'q', '--activations', x, '--k', '2', '--steps', '5', '--lr-warm-up-steps', '6'], /^cochlea: 6 warm-up and 0 decay steps do not fit a run of 5 steps: lower them or train longer$/],
]));

test('what is not there, or not what it should be, is named, with code 1', () => refused(1, [
  [['info', 'nowhere'], /^cochlea: no such folder: nowhere$/],
  [['info', folder], /holds neither an SAE \(cfg\.json\) nor activations \(manifest\.json\) nor a training run \(run\.json\)$/],
  [['info', x], /x\.safetensors holds neither an SAE/],
  [['train', '--out', 'q', '--activations', 'nowhere.npy'], /^cochlea: no activations at nowhere\.npy: name a folder that `cochlea extract` wrote/],
  [['train', '--out', 'q', '--activations', file('torn.safetensors', 'torn')], /torn\.safetensors is not a whole safetensors file: 4 bytes are too few for a header$/],
  [['train', '--out', 'q', '--activations', mkdtempSync(join(folder, 'empty-'))], /^cochlea: there are no activations in .*: neither manifest\.json \(a store\), state\.json \(a dataset\) nor \.safetensors or \.npy files$/],
  [['train', '--out', 'q', '--audio', 'nowhere', '--model', 'm', '--hook', 'h'], /^cochlea: no such file or folder: nowhere: name sound files, folders of them, or a manifest/],
  [['hooks', 'nowhere'], /^cochlea: no model 'nowhere': give the path of an \.onnx file or of its folder, ORG\/NAME of the Hugging Face Hub, or one of moonshine-tiny/],
  [['hooks', file('not.onnx', 'hello')], /^cochlea: .*not\.onnx/],
]));

describe('--verbose', () => {
  test('shows the stack, wherever it stands; without it no stack is shown', async () => {
    const args = ['train', '--out', 'q', '--activations', x, '--k', '1000'];
    for (const given of [['--verbose', ...args], [...args, '--verbose']]) {
      const { code, stderr } = await cochlea(given);
      assert.equal(code, 2);
      assert.match(stderr, /^cochlea: k is 1000.*\nCochleaError: k is 1000\n\s+at /);
    }
  });
});

describe('--config', () => {
  const base = ['train', '--activations', x];

  test('is refused where it is wrong, naming file and key, with code 2', () => refused(2, [
    [[...base, '--out', 'q', '--config', file('unknown.json', '{"stepz": 3}')], /unknown\.json: stepz is no flag of train: known are activations, .*steps, /],
    [[...base, '--out', 'q', '--config', file('text.json', '{"k": "abc"}')], /text\.json: k is "abc": It must be a number\.$/],
    [[...base, '--out', 'q', '--config', file('choice.json', '{"lr-scheduler": "cosine"}')], /choice\.json: lr-scheduler is "cosine": Allowed choices are constant, /],
    [[...base, '--out', 'q', '--config', file('list.json', '{"steps": [1, 2]}')], /list\.json: steps is \[1,2\]: it must be a string or a number$/],
    [[...base, '--out', 'q', '--config', file('true.json', '{"k": true}')], /true\.json: k is true: it must be a string or a number$/],
    [[...base, '--out', 'q', '--config', file('yes.json', '{"centre": "yes"}')], /yes\.json: centre is "yes": it must be true or false$/],
    [[...base, '--out', 'q', '--config', file('null.json', '{"k": null}')], /null\.json: k is null: It must be a number\.$/],
    [['train', '--config', file('audio.json', '{"audio": [{}], "out": "q"}')], /audio\.json: audio is \[\{\}\]: it must be a string or a list of strings$/],
    [[...base, '--out', 'q', '--config', file('torn.json', '{"k": 3')], /torn\.json is not JSON: /],
    [[...base, '--out', 'q', '--config', file('array.json', '[]')], /array\.json is not a JSON object of flags$/],
  ]));

  test('that is not there is refused', () => refused(1, [[[...base, '--out', 'q', '--config', 'nowhere.json'], /^cochlea: cannot read the configuration nowhere\.json$/]]));

  test('gives flags under any spelling, also those that must be given; the command line wins over it', () => refused(2, [
    // What arrived is read off the refusal: k must be at most d_sae.
    [['train', '--config', file('all.json', JSON.stringify({ activations: x, '--out': 'q', d_sae: 7, batchSize: 4, 'lr-scheduler': 'constant', K: 9 }))], /k is 9: it must be at most d_sae \(7\)$/],
    [['train', '--config', join(folder, 'all.json'), '--d-sae', '6'], /k is 9: it must be at most d_sae \(6\)$/],
    [['train', '--d-sae', '5', '--config', join(folder, 'all.json'), '--k', '8'], /k is 8: it must be at most d_sae \(5\)$/],
  ]));
});

test('models prints a table, or one JSON line with --json', async () => {
  const { code, stdout, stderr } = await cochlea(['models']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^name +layers +d_model +frames\/s +licence +MB +npm package\nmoonshine-tiny +6 +288 +41\.67 +MIT/);
  const json = await cochlea(['models', '--json']);
  assert.deepEqual(json.stdout.split('\n').length, 2);
  assert.deepEqual(JSON.parse(json.stdout), { models: JSON.parse(JSON.stringify(knownModels)) });
});
