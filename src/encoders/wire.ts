/**
 * The wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding), as far as ONNX uses it.
 * A message is walked field by field and every field is a view of the original bytes, so that what is
 * not understood here can still be written back exactly as it came.
 */
import { CochleaError } from '../errors.ts';

export interface Field {
  readonly number: number;
  /** 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes. */
  readonly wire: number;
  /** A varint as a signed 64-bit integer (exact up to 2^53); 0 for other wire types. */
  readonly value: number;
  /** The content without tag and length. */
  readonly body: Uint8Array;
  /** The whole field with its tag. */
  readonly raw: Uint8Array;
}

/** Reads the varint at `at`: its value as a signed 64-bit integer and the position behind it. */
function readVarint(bytes: Uint8Array, at: number, file: string): [value: number, next: number] {
  let low = 0, high = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (at >= bytes.length) throw new CochleaError('model', `${file}: a number is cut off: the file is truncated or damaged`);
    const byte = bytes[at++]!;
    const bits = byte & 0x7f;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      high |= bits >>> 4;
    } else high |= bits << (shift - 32);
    if (byte < 0x80) return [high * 2 ** 32 + (low >>> 0), at];
  }
  throw new CochleaError('model', `${file}: a number of more than ten bytes: the file is damaged`);
}

/** The fields of one message in file order. Throws CochleaError `model` when the bytes are no message. */
export function* readFields(message: Uint8Array, file: string): Generator<Field> {
  let at = 0;
  while (at < message.length) {
    const start = at;
    const [tag, afterTag] = readVarint(message, at, file);
    const number = Math.floor(tag / 8), wire = tag & 7;
    if (number < 1 || number >= 2 ** 29) {
      throw new CochleaError('model', `${file}: a field with the impossible number ${number}: no ONNX model, or damaged`);
    }
    let value = 0, bodyStart = afterTag, end = afterTag;
    if (wire === 0) [value, end] = readVarint(message, afterTag, file);
    else if (wire === 1) end = afterTag + 8;
    else if (wire === 5) end = afterTag + 4;
    else if (wire === 2) {
      const [length, next] = readVarint(message, afterTag, file);
      bodyStart = next;
      end = next + length;
      if (length < 0) end = Infinity;
    } else throw new CochleaError('model', `${file}: a field of unknown wire type ${wire}: no ONNX model, or damaged`);
    if (end > message.length) {
      throw new CochleaError('model', `${file}: a field reaches beyond the end of what holds it: the file is truncated or damaged`);
    }
    at = end;
    yield { number, wire, value, body: message.subarray(bodyStart, end), raw: message.subarray(start, end) };
  }
}

const decoder = new TextDecoder();

/** The content of a string field. */
export function text(field: Field): string {
  return decoder.decode(field.body);
}

/** The numbers of a repeated integer field, which is written packed (one field) or plain (a field each). */
export function integers(field: Field, file: string): number[] {
  if (field.wire === 0) return [field.value];
  const values: number[] = [];
  for (let at = 0; at < field.body.length;) {
    const [value, next] = readVarint(field.body, at, file);
    values.push(value);
    at = next;
  }
  return values;
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

export function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const encoder = new TextEncoder();

/** One field: an integer as a varint, text and bytes length-delimited, a list of parts as one message. */
export function writeField(number: number, content: number | string | Uint8Array | readonly Uint8Array[]): Uint8Array {
  if (typeof content === 'number') return concatenate([varint(number * 8), varint(content)]);
  const body = typeof content === 'string' ? encoder.encode(content) : content instanceof Uint8Array ? content : concatenate(content);
  return concatenate([varint(number * 8 + 2), varint(body.length), body]);
}
