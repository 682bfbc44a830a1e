/** Modules in threads. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { runtime } from '../../src/runtime/index.ts';

describe('a thread', () => {
  const start = () => runtime.startWorker('./answering', import.meta.url);
  const rejectsWith = (work: Promise<unknown>, code: string, message: RegExp) => assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof CochleaError, String(error));
    assert.equal(error.code, code);
    assert.match(error.line, message);
    return true;
  });

  test('answers, several requests at a time, and what is transferred to it is gone here', async () => {
    const thread = start();
    const values = Float32Array.of(1, 2, 3);
    const [first, second] = await Promise.all([thread.ask({ what: 'double', values }, [values.buffer]), thread.ask({ what: 'double', values: Float32Array.of(7) })]);
    assert.deepEqual([first, second, values.length], [Float32Array.of(2, 4, 6), Float32Array.of(14), 0]);
    await thread.end();
  });

  test('keeps what its errors are: code and hint of ours, the message of others', async () => {
    const thread = start();
    await rejectsWith(thread.ask({ what: 'refuse' }), 'audio', /^no sound: leave it out$/);
    await assert.rejects(thread.ask({ what: 'break' }), (error: Error) => !(error instanceof CochleaError) && error.message === 'not meant');
    assert.deepEqual(await thread.ask({ what: 'double', values: Float32Array.of(1) }), Float32Array.of(2));
    await thread.end();
  });

  test('that is ended or dies rejects what was asked of it, and whatever is asked later', async () => {
    const ended = start();
    const waiting = ended.ask({ what: 'wait' });
    const rejected = rejectsWith(waiting, 'interrupted', /^the thread was ended$/);
    await ended.end();
    await rejected;
    await rejectsWith(ended.ask({ what: 'wait' }), 'interrupted', /ended/);
    const died = start();
    await rejectsWith(died.ask({ what: 'die' }), 'runtime', /^a thread died: .*fell over/);
    await rejectsWith(died.ask({ what: 'wait' }), 'runtime', /fell over/);
  });
});
