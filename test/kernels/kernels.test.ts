import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Gpu } from '../../src/gpu/index.ts';
import type { Case } from '../support/case.ts';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.dispose());

const folder = dirname(fileURLToPath(import.meta.url));
for (const file of readdirSync(folder).filter((name) => /\.cases\.[jt]s$/.test(name)).sort()) {
  const { cases } = (await import(`./${file}`)) as { cases: Case[] };
  describe(file.replace(/\.cases\.[jt]s$/, ''), () => {
    for (const { name, run, learns, needs } of cases) {
      test(name, { skip: learns && 'Deno' in globalThis ? 'Node runs it' : false }, (t) => (needs && !gpu.features.includes(needs) ? t.skip(`the adapter has no ${needs}`) : run(gpu)));
    }
  });
}
