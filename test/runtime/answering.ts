/** The module that threads.test.ts starts. */
import { CochleaError } from '../../src/errors.ts';
import { runtime } from '../../src/runtime/index.ts';

runtime.answerRequests(async (content) => {
  const { what, values } = content as { what: string; values?: Float32Array };
  if (what === 'refuse') throw new CochleaError('audio', 'no sound', 'leave it out');
  if (what === 'break') throw new TypeError('not meant');
  if (what === 'die') setTimeout(() => {
    throw new Error('fell over');
  });
  if (what === 'die' || what === 'wait') await new Promise((resolve) => setTimeout(resolve, 60_000));
  const doubled = values!.map((value) => 2 * value);
  return { content: doubled, transfer: [doubled.buffer as ArrayBuffer] };
});
