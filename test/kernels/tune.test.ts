/** The choice of a kernel's variant: measured once, kept, pinned. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, beforeEach, describe, test } from 'node:test';
import { choiceName, Gpu } from '../../src/gpu/index.ts';
import { encode, encodeChoice, type EncodeVariant, encodeVariants, halfVariants, leavesTops, tuneEncode } from '../../src/kernels/index.ts';

describe('the variant of the encoder\'s product', () => {
  const shape = { dIn: 60, dSae: 500, rows: 70_000 };
  const name = choiceName('encode', [shape.dIn, shape.dSae]);
  const cacheBefore = process.env['COCHLEA_CACHE'];
  let gpu: Gpu;
  let folder: string;
  before(async () => {
    gpu = await Gpu.open();
    folder = await mkdtemp(join(tmpdir(), 'cochlea-tune-'));
    process.env['COCHLEA_CACHE'] = folder;
  });
  beforeEach(() => gpu.variants.clear());
  after(async () => {
    if (cacheBefore === undefined) delete process.env['COCHLEA_CACHE'];
    else process.env['COCHLEA_CACHE'] = cacheBefore;
    gpu.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const record = (): void => {
    const rec = gpu.record();
    const tensor = (label: string, rows: number, columns: number) => gpu.tensor({ label, dtype: 'f32', rows, columns, stride: columns });
    const [xc, W_enc, b_enc, h] = [tensor('x', 4, shape.dIn), tensor('W', shape.dSae, shape.dIn), tensor('b', 1, shape.dSae), tensor('h', 4, shape.dSae)] as const;
    try {
      encode(rec, { xc, W_enc, b_enc, h }, 0, 4);
      rec.submit();
    } finally {
      [xc, W_enc, b_enc, h].forEach((each) => gpu.free(each));
    }
  };

  test('a class of shapes has one name', () => {
    assert.equal(choiceName('encode', [384, 3072]), 'encode 512x4096');
    assert.equal(choiceName('encode', [512, 4096]), 'encode 512x4096');
    assert.equal(choiceName('encode', [513, 1]), 'encode 1024x1');
    assert.equal(encodeChoice(384, 3072), 'encode 512x4096');
    assert.notEqual(encodeChoice(384, 3070), encodeChoice(384, 3072), 'only one of them can be resident');
  });

  test('the bundled adapter has subgroups, so that kernels that want them are tested on it', (t) => {
    if (!/swiftshader/i.test(`${gpu.adapter.architecture} ${gpu.adapter.device} ${gpu.adapter.description}`)) return t.skip('this is another adapter');
    assert.equal(gpu.subgroups?.size, 4);
    assert.ok(encodeVariants(gpu, shape.dSae).includes('resident'));
  });

  test('without a choice the first guess runs, and is written down', () => {
    record();
    assert.equal(gpu.variants.get(name), encodeVariants(gpu, shape.dSae)[0]);
  });

  test('what is measured is chosen, kept for the next process, and not measured again', async (t) => {
    const line = await tuneEncode(gpu, shape);
    if (line === undefined) return t.skip('this adapter has one variant worth trying');
    const chosen = gpu.variants.get(name)!;
    assert.match(line, new RegExp(`^${name}: ${chosen}, of .* ms`));
    assert.equal(gpu.allocatedBytes, 0);
    gpu.variants.clear();
    assert.equal(await tuneEncode(gpu, shape), undefined);
    assert.equal(gpu.variants.get(name), chosen);
    const [file] = await readdir(join(folder, 'tuning')), path = join(folder, 'tuning', file!);
    const kept = JSON.parse(await readFile(path, 'utf8')) as Record<string, string>;
    assert.deepEqual([kept['choice'], kept['variant']], [name, chosen]);
    const other = encodeVariants(gpu, shape.dSae).find((variant) => (variant === 'direct' || variant === 'resident') && variant !== chosen)!;
    await writeFile(path, JSON.stringify({ ...kept, variant: other }));
    gpu.variants.clear();
    assert.equal(await tuneEncode(gpu, shape), undefined);
    assert.equal(gpu.variants.get(name), other, 'what the file says is what runs');
    await writeFile(path, '{"half');
    gpu.variants.clear();
    assert.notEqual(await tuneEncode(gpu, shape), undefined, 'a file that cannot be read is as good as none');
  });

  test('of processes that choose at the same time the first one\'s choice holds for all', async (t) => {
    await rm(join(folder, 'tuning'), { recursive: true, force: true });
    if (await tuneEncode(gpu, shape) === undefined) return t.skip('this adapter has one variant worth trying');
    const [file] = await readdir(join(folder, 'tuning')), path = join(folder, 'tuning', file!);
    const other = gpu.variants.get(name) === 'direct' ? 'resident' : 'direct';
    await rm(path);
    gpu.variants.clear();
    const measuring = tuneEncode(gpu, shape);
    await writeFile(path, JSON.stringify({ variant: other })); // as another process would, which was faster
    await measuring;
    assert.equal(gpu.variants.get(name), other);
    assert.equal((JSON.parse(await readFile(path, 'utf8')) as { variant: string }).variant, other);
  });

  test('a pin stays, for its class or for the family', async () => {
    gpu.variants.set('encode', 'direct');
    assert.equal(await tuneEncode(gpu, shape), undefined);
    record();
    assert.equal(gpu.variants.get(name), undefined);
    assert.equal(leavesTops(gpu, shape.dIn, shape.dSae), false);
  });

  test('small products are not measured', async () => {
    assert.equal(await tuneEncode(gpu, { ...shape, rows: 64 }), undefined);
    assert.equal(gpu.variants.size, 0);
  });

  test('a variant that cannot run is refused by name', () => {
    for (const variant of ['nonsense', 'wide_f32', 'toString']) {
      gpu.variants.set('encode', variant);
      assert.throws(record, { code: 'config', message: new RegExp(`^encode 64x512 cannot run as ${variant} on (?!.* has no )`), hint: /^one of .* can$/ });
    }
  });

  test('variants that round to float16 are never chosen: not as a guess, nor by the clock, nor from what an earlier process found', async () => {
    for (const software of [true, false]) {
      const adapter = { ...gpu.adapter, software }, one = Object.create(gpu, { adapter: { value: adapter } }) as Gpu;
      assert.ok(encodeVariants(one, shape.dSae).every((variant) => !halfVariants.has(variant)));
    }
    await rm(join(folder, 'tuning'), { recursive: true, force: true });
    if (await tuneEncode(gpu, shape) === undefined) return; // this adapter has one variant worth trying
    const [file] = await readdir(join(folder, 'tuning')), path = join(folder, 'tuning', file!);
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')) as object, variant: 'wide_f16' }));
    gpu.variants.clear();
    await tuneEncode(gpu, shape);
    assert.ok(!halfVariants.has(gpu.variants.get(name) as EncodeVariant));
  });

  test('variants that round to float16 run where they are asked for, and are refused by what an adapter lacks', (t) => {
    const lacking = Object.create(gpu, { features: { value: gpu.features.filter((feature) => feature !== 'shader-f16') } }) as Gpu;
    for (const variant of halfVariants.keys()) {
      gpu.variants.set('encode', variant);
      assert.throws(() => leavesTops(lacking, shape.dIn, shape.dSae), { code: 'config', message: new RegExp(`^encode 64x512 cannot run as ${variant} on .*, which has no shader-f16$`), hint: /^one of .* can$/ });
    }
    if (!gpu.features.includes('shader-f16')) return t.skip('the adapter has no shader-f16');
    for (const variant of halfVariants.keys()) {
      gpu.variants.set('encode', variant);
      record();
    }
    assert.deepEqual([...gpu.variants.keys()], ['encode']);
  });
});
