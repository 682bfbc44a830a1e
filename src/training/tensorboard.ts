/**
 * Event files of TensorBoard: records of TFRecord framing (u64 length, its checksum, data, its checksum; checksums are masked CRC-32C), each an Event
 * message of protocol buffers with a Summary of scalars. What is encoded here is all that scalars need.
 * Formats: tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto, tensorflow/core/lib/io/record_writer.h
 */
import { joinBytes } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';

export interface ScalarEvent {
  step: number;
  /** Seconds since 1970. */
  wallTime: number;
  /** By tag; those that are undefined are left out. */
  scalars: Readonly<Record<string, number | undefined>>;
}

const table = Int32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? 0x82f63b78 ^ (remainder >>> 1) : remainder >>> 1;
  return remainder;
});

/** CRC-32 with Castagnoli's polynomial, reflected (RFC 3720, appendix B.4). */
export function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** A checksum stored beside what it is of: rotated and moved, so that one over both does not come out constant. */
const masked = (bytes: Uint8Array): number => {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
};

function record(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(16 + data.length);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(out.subarray(0, 8)), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, masked(data), true);
  return out;
}

const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; bytes.length === 0 || rest > 0; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | (rest >= 128 ? 128 : 0));
  return bytes;
}

const field = (number: number, type: keyof typeof wire, content: readonly number[]): number[] =>
  [number << 3 | wire[type], ...(type === 'bytes' ? varint(content.length) : []), ...content];

const double = (value: number): number[] => [...new Uint8Array(Float64Array.of(value).buffer)];
const float = (value: number): number[] => [...new Uint8Array(Float32Array.of(value).buffer)];
const text = (value: string): number[] => [...new TextEncoder().encode(value)];

/** Event: wall_time = 1, step = 2, file_version = 3, summary = 5. Summary: value = 1. Value: tag = 1, simple_value = 2. */
function eventRecord({ step, wallTime, scalars }: ScalarEvent): Uint8Array {
  const values = Object.entries(scalars).flatMap(([tag, value]) => (value === undefined ? [] : field(1, 'bytes', [...field(1, 'bytes', text(tag)), ...field(2, 'fixed32', float(value))])));
  return record(Uint8Array.from([...field(1, 'fixed64', double(wallTime)), ...field(2, 'varint', varint(step)), ...field(5, 'bytes', values)]));
}

/** The bytes of some events, one after the other. */
export function eventRecords(events: readonly ScalarEvent[]): Uint8Array {
  return joinBytes(events.map(eventRecord));
}

/** A whole event file. */
export function eventFile(events: readonly ScalarEvent[], wallTime: number): Uint8Array {
  const version = record(Uint8Array.from([...field(1, 'fixed64', double(wallTime)), ...field(3, 'bytes', text('brain.Event:2'))]));
  return joinBytes([version, eventRecords(events)]);
}

/** The wall time of each step in a file of this writer's; what is damaged, and all behind it, is left out. */
export function wallTimes(bytes: Uint8Array): Map<number, number> {
  const times = new Map<number, number>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 16 <= bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    if (view.getUint32(at + 8, true) !== masked(bytes.subarray(at, at + 8)) || at + 16 + length > bytes.length) break;
    const data = bytes.subarray(at + 12, at + 12 + length);
    if (view.getUint32(at + 12 + length, true) !== masked(data)) break;
    if (length > 10 && data[9] === (2 << 3 | wire.varint)) {
      let step = 0;
      for (let i = 10, unit = 1; i < length; i++, unit *= 128) {
        step += (data[i]! & 127) * unit;
        if (data[i]! < 128) break;
      }
      times.set(step, view.getFloat64(at + 13, true));
    }
    at += 16 + length;
  }
  return times;
}

/** The event file in a folder: the one that is there from an earlier call, else one of a name that TensorBoard looks for. */
export async function eventFilePath(folder: string, wallTime: number): Promise<string> {
  const there = await runtime.files.info(folder) ? (await runtime.files.list(folder)).find((name) => /^events\.out\.tfevents\.\d+\.cochlea$/.test(name)) : undefined;
  return runtime.paths.join(folder, there ?? `events.out.tfevents.${String(Math.floor(wallTime)).padStart(10, '0')}.cochlea`);
}
