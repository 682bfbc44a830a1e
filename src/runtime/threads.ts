/** Modules in threads of their own, which answer requests; Node and Deno both have node:worker_threads. */
import { parentPort, type TransferListItem, Worker } from 'node:worker_threads';
import { CochleaError, type ErrorCode } from '../errors.ts';
import type { Answer, WorkerThread } from './types.ts';

interface Request {
  id: number;
  content: unknown;
}

/** Errors lose their class on the way between threads. */
interface Failure {
  message: string;
  code?: ErrorCode;
  hint?: string | undefined;
  stack?: string | undefined;
}

type Reply = { id: number } & ({ content: unknown } | { failure: Failure });

function packed(error: unknown): Failure {
  if (!(error instanceof Error)) return { message: String(error) };
  const { message, stack } = error;
  return error instanceof CochleaError ? { message, stack, code: error.code, hint: error.hint } : { message, stack };
}

function unpacked({ message, code, hint, stack }: Failure): Error {
  const error = code === undefined ? new Error(message) : new CochleaError(code, message, hint);
  if (stack !== undefined) error.stack = stack;
  return error;
}

interface Pending {
  resolve(content: unknown): void;
  reject(error: Error): void;
}

export function startWorker(name: string, from: string): WorkerThread {
  const [, extension] = /(\.\w+)$/.exec(from)!; // the sources run as they are in Deno, built in Node
  const worker = new Worker(new URL(`${name}${extension}`, from));
  const pending = new Map<number, Pending>();
  let ids = 0, over: CochleaError | undefined;
  const fail = (error: CochleaError): void => {
    over ??= error;
    for (const { reject } of pending.values()) reject(over);
    pending.clear();
  };
  worker.unref(); // an idle thread keeps no process alive
  worker.on('message', (reply: Reply) => {
    const asker = pending.get(reply.id);
    pending.delete(reply.id);
    if (pending.size === 0 && !over) worker.unref(); // of one that is being ended the end is waited for
    if ('failure' in reply) asker?.reject(unpacked(reply.failure));
    else asker?.resolve(reply.content);
  });
  worker.on('error', (error: Error) => fail(new CochleaError('runtime', `a thread died: ${error.message ?? error}`, undefined, { cause: error })));
  worker.on('exit', (code) => fail(new CochleaError('runtime', `a thread ended by itself, with code ${code}`)));
  return {
    ask: (content, transfer = []) => new Promise((resolve, reject) => {
      if (over) return reject(over);
      const id = ids++;
      worker.postMessage({ id, content } satisfies Request, transfer as TransferListItem[]);
      pending.set(id, { resolve, reject });
      worker.ref();
    }),
    end: async () => {
      fail(new CochleaError('interrupted', 'the thread was ended'));
      await worker.terminate();
    },
  };
}

export function answerRequests(answer: Answer): void {
  if (!parentPort) throw new CochleaError('runtime', 'this module runs only in a thread that startWorker started');
  const port = parentPort;
  port.on('message', async ({ id, content }: Request) => {
    let reply: Reply, transfer: readonly ArrayBuffer[] = [];
    try {
      const answered = await answer(content);
      ({ transfer = [] } = answered);
      reply = { id, content: answered.content };
    } catch (error) {
      reply = { id, failure: packed(error) };
    }
    port.postMessage(reply, transfer as TransferListItem[]);
  });
}
