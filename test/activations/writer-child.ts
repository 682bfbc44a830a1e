/** Writes the clips of synthetic.ts into the folder given: a process of its own, so that a test can kill it. */
import process from 'node:process';
import { ActivationWriter } from '../../src/activations/index.ts';
import { clip, info } from './synthetic.ts';

const [folder, clips, shardBytes] = process.argv.slice(2) as [string, string, string];
const writer = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: true, shardBytes: Number(shardBytes) });
console.log('ready');
for (let i = 0; i < Number(clips); i++) {
  if (!writer.has(clip(i).id)) await writer.addClip(clip(i));
}
await writer.finish();
