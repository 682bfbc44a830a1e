/** Writes the clips of synthetic.ts, with targets when told, into the folder given: a process of its own, so that a test can kill it. */
import process from 'node:process';
import { ActivationWriter } from '../../src/activations/index.ts';
import { clip, clipWithTarget, info, targetInfo } from './synthetic.ts';

const [folder, clips, shardBytes, targets] = process.argv.slice(2) as [string, string, string, string?];
const writer = await ActivationWriter.open(folder, info, {
  dtype: 'f16', resume: true, shardBytes: Number(shardBytes), ...(targets === 'targets' && { target: targetInfo }),
});
const make = targets === 'targets' ? clipWithTarget : clip;
console.log('ready');
for (let i = 0; i < Number(clips); i++) {
  if (!writer.has(make(i).id)) await writer.addClip(make(i));
}
await writer.finish();
