/**
 * A reader for the part of Python's pickle language (protocols 2 to 5) in which numbers, text, lists, tuples and dictionaries are written.
 * Nothing is imported and nothing of the file's choosing is called: a global is looked up in a closed list that the caller gives, whose
 * members are data or functions of our own. Any other name, and any other opcode, is refused by name.
 * Format: CPython's Lib/pickletools.py.
 */

import { CochleaError } from '../errors.ts';

export const pickleLimits = {
  bytes: 16 << 20,
  /** Opcodes: each makes at most one value. */
  steps: 1 << 20,
  /** Bytes of one integer. */
  integerBytes: 128,
};

export interface PickleNames {
  /** What `module.name` stands for: data, or a function of ours that takes the arguments of a call; undefined when it is not on the list. */
  global(name: string): unknown;
  /** What a persistent id stands for. */
  persistent(id: unknown): unknown;
}

/** Dictionaries have no prototype, so that no key means anything. */
export function isDictionary(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null;
}

export function emptyDictionary(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>;
}

/** Tuples are frozen arrays, lists are not. */
export function isTuple(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && Object.isFrozen(value);
}

const decoders = {
  'utf-8': new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }),
  latin1: new TextDecoder('latin1'),
};

const otherOpcodes: Readonly<Record<number, string>> = {
  0x49: 'INT', 0x4c: 'LONG', 0x53: 'STRING', 0x42: 'BINBYTES', 0x43: 'SHORT_BINBYTES', 0x8e: 'BINBYTES8', 0x96: 'BYTEARRAY8', 0x97: 'NEXT_BUFFER',
  0x98: 'READONLY_BUFFER', 0x56: 'UNICODE', 0x46: 'FLOAT', 0x6c: 'LIST', 0x64: 'DICT', 0x8f: 'EMPTY_SET', 0x90: 'ADDITEMS', 0x91: 'FROZENSET', 0x32: 'DUP',
  0x67: 'GET', 0x70: 'PUT', 0x82: 'EXT1', 0x83: 'EXT2', 0x84: 'EXT4', 0x6f: 'OBJ', 0x81: 'NEWOBJ', 0x92: 'NEWOBJ_EX', 0x50: 'PERSID',
};

const resave = 'nothing in it was run; in Python, save only tensors, numbers, text, lists and dictionaries, such as torch.save(model.state_dict(), path)';

/** What the pickle in `bytes` stands for. Cycles are possible. Throws `file-damaged`, also for what is beyond `pickleLimits`. */
export function readPickle(bytes: Uint8Array, file: string, names: PickleNames): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: unknown[] = [];
  const marks: number[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;

  const refuse = (what: string, hint?: string): CochleaError => new CochleaError('file-damaged', `the pickle in ${file} ${what}`, hint);
  const take = (length: number): number => {
    if (length > bytes.length - at) throw refuse(`claims ${length} bytes at byte ${at} of ${bytes.length}`);
    at += length;
    return at - length;
  };
  const wide = (): number => Number(view.getBigUint64(take(8), true));
  const text = (length: number, encoding: keyof typeof decoders): string => {
    const from = take(length);
    try {
      return decoders[encoding].decode(bytes.subarray(from, at));
    } catch {
      throw refuse(`has text at byte ${from} that is not ${encoding}`);
    }
  };
  const integer = (length: number): number | bigint => {
    if (length > pickleLimits.integerBytes) throw refuse(`has an integer of ${length} bytes, at most ${pickleLimits.integerBytes} are read`);
    const from = take(length);
    let value = 0n;
    for (let i = from + length - 1; i >= from; i--) value = (value << 8n) | BigInt(bytes[i]!);
    value = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  };
  const line = (): string => {
    const end = bytes.subarray(at, at + 256).indexOf(0x0a);
    if (end < 0) throw refuse(`has a name at byte ${at} that does not end`);
    const name = text(end, 'utf-8');
    at++;
    return name;
  };

  const pop = (): unknown => {
    if (stack.length <= (marks.at(-1) ?? 0)) throw refuse(`takes more than it has, before byte ${at}`);
    return stack.pop();
  };
  const top = (): unknown => {
    const value = pop();
    stack.push(value);
    return value;
  };
  const popMarked = (): unknown[] => {
    const mark = marks.pop();
    if (mark === undefined) throw refuse(`ends a list that it has not begun, before byte ${at}`);
    return stack.splice(mark);
  };
  const tuple = (items: unknown[]): void => {
    stack.push(Object.freeze(items));
  };
  const append = (items: readonly unknown[]): void => {
    const list = top();
    if (!Array.isArray(list) || Object.isFrozen(list)) throw refuse(`appends to what is no list, before byte ${at}`);
    for (const item of items) list.push(item);
  };
  const setItems = (items: readonly unknown[]): void => {
    const dictionary = top();
    if (!isDictionary(dictionary) || items.length % 2 !== 0) throw refuse(`sets items of what is no dictionary, before byte ${at}`);
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (typeof key !== 'string' && typeof key !== 'number') throw refuse(`has a dictionary key that is neither text nor a number, before byte ${at}`);
      if (Object.hasOwn(dictionary, key)) throw refuse(`has the key ${quote(String(key))} twice in a dictionary`);
      dictionary[key] = items[i + 1];
    }
  };
  const global = (module: unknown, member: unknown): unknown => {
    if (typeof module !== 'string' || typeof member !== 'string') throw refuse(`names a global by what is no text, before byte ${at}`);
    const value = names.global(`${module}.${member}`);
    if (value === undefined) throw refuse(`asks for ${printable(`${module}.${member}`)}, which tensors do not need`, resave);
    return value;
  };
  const fromMemo = (index: number): unknown => {
    if (!memo.has(index)) throw refuse(`recalls value ${index}, which it has not kept`);
    return memo.get(index);
  };

  for (let step = 0; step < pickleLimits.steps; step++) {
    const opcode = bytes[take(1)]!;
    switch (opcode) {
      case 0x80: { // PROTO
        const protocol = bytes[take(1)]!;
        if (protocol < 2 || protocol > 5) throw refuse(`is of protocol ${protocol}; 2 to 5 are read`);
        break;
      }
      case 0x95: // FRAME: only a hint of how much to read at once
        if (wide() > bytes.length - at) throw refuse('has a frame that is longer than the file');
        break;
      case 0x2e: { // STOP
        const value = pop();
        if (stack.length > 0 || marks.length > 0) throw refuse('leaves something on its stack');
        return value;
      }

      case 0x4e: stack.push(null); break;
      case 0x88: stack.push(true); break;
      case 0x89: stack.push(false); break;
      case 0x4a: stack.push(view.getInt32(take(4), true)); break; // BININT
      case 0x4b: stack.push(bytes[take(1)]!); break; // BININT1
      case 0x4d: stack.push(view.getUint16(take(2), true)); break; // BININT2
      case 0x8a: stack.push(integer(bytes[take(1)]!)); break; // LONG1
      case 0x8b: stack.push(integer(view.getUint32(take(4), true))); break; // LONG4
      case 0x47: stack.push(view.getFloat64(take(8))); break; // BINFLOAT, big-endian
      case 0x8c: stack.push(text(bytes[take(1)]!, 'utf-8')); break; // SHORT_BINUNICODE
      case 0x58: stack.push(text(view.getUint32(take(4), true), 'utf-8')); break; // BINUNICODE
      case 0x8d: stack.push(text(wide(), 'utf-8')); break; // BINUNICODE8
      case 0x55: stack.push(text(bytes[take(1)]!, 'latin1')); break; // SHORT_BINSTRING, of Python 2
      case 0x54: stack.push(text(view.getUint32(take(4), true), 'latin1')); break; // BINSTRING

      case 0x28: marks.push(stack.length); break;
      case 0x30: pop(); break;
      case 0x31: popMarked(); break;
      case 0x29: tuple([]); break;
      case 0x85: tuple([pop()]); break;
      case 0x86: tuple([pop(), pop()].reverse()); break;
      case 0x87: tuple([pop(), pop(), pop()].reverse()); break;
      case 0x74: tuple(popMarked()); break;
      case 0x5d: stack.push([]); break;
      case 0x61: append([pop()]); break;
      case 0x65: append(popMarked()); break;
      case 0x7d: stack.push(emptyDictionary()); break;
      case 0x73: setItems([pop(), pop()].reverse()); break;
      case 0x75: setItems(popMarked()); break;

      case 0x94: memo.set(memo.size, top()); break; // MEMOIZE
      case 0x71: memo.set(bytes[take(1)]!, top()); break; // BINPUT
      case 0x72: memo.set(view.getUint32(take(4), true), top()); break; // LONG_BINPUT
      case 0x68: stack.push(fromMemo(bytes[take(1)]!)); break; // BINGET
      case 0x6a: stack.push(fromMemo(view.getUint32(take(4), true))); break; // LONG_BINGET

      case 0x63: stack.push(global(line(), line())); break; // GLOBAL
      case 0x93: stack.push(global(...[pop(), pop()].reverse() as [unknown, unknown])); break; // STACK_GLOBAL
      case 0x69: global(line(), line()); throw refuse('uses the opcode INST, which tensors do not need', resave);
      case 0x52: { // REDUCE
        const args = pop();
        const callee = pop();
        if (typeof callee !== 'function' || !isTuple(args)) throw refuse(`calls what is no function, before byte ${at}`);
        stack.push((callee as (args: readonly unknown[]) => unknown)(args));
        break;
      }
      case 0x62: // BUILD gives an object attributes: those of a state dict (its `_metadata`) are not part of the data
        if (!isDictionary(pop()) || !isDictionary(top())) throw refuse(`sets attributes of what is no dictionary, before byte ${at}`);
        break;
      case 0x51: stack.push(names.persistent(pop())); break; // BINPERSID

      default: throw refuse(`uses the opcode ${otherOpcodes[opcode] ?? `0x${opcode.toString(16).padStart(2, '0')}`}, which tensors do not need`, resave);
    }
  }
  throw refuse(`takes more than ${pickleLimits.steps} steps`);
}

function quote(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}

/** A name of the file's for a message: one line, not too long. */
function printable(name: string): string {
  return /^[\x21-\x7e]{1,100}$/.test(name) ? name : quote(name);
}
