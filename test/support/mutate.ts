import type { RandomStream } from '../../src/random.ts';

/** A seed for tests that look for trouble: another one each run, or COCHLEA_SEED to repeat a run. Printed. */
export function freshSeed(what: string): number {
  const seed = Number(process.env['COCHLEA_SEED'] ?? Date.now() % 2 ** 31);
  console.log(`${what}: COCHLEA_SEED=${seed}`);
  return seed;
}

const tellingBytes = [0x00, 0x01, 0x7f, 0x80, 0xff, 0xc1, 0xc6, 0xc9, 0xd4, 0xdd, 0xdf, 0x22, 0x2c, 0x2d, 0x30, 0x39, 0x5b, 0x5d, 0x7b, 0x7d];

/** One to four hostile changes: bits, telling bytes, huge numbers, cuts, repeats, moved ends. Mostly near the front, where headers are. */
export function mutate(bytes: Uint8Array, random: RandomStream): Uint8Array {
  let out = bytes.slice();
  const place = (): number => random.below(random.below(4) === 0 ? out.length : Math.min(out.length, 400));
  for (let changes = 1 + random.below(4); changes > 0 && out.length > 0; changes--) {
    const at = place();
    const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
    switch (random.below(8)) {
      case 0: out[at] = out[at]! ^ (1 << random.below(8)); break;
      case 1: out[at] = tellingBytes[random.below(tellingBytes.length)]!; break;
      case 2: out[at] = random.below(256); break;
      case 3: if (at + 4 <= out.length) view.setUint32(at, [0xffffffff, 0x7fffffff, 0x80000000, 0x10000][random.below(4)]!, random.below(2) === 0); break;
      case 4: out = out.slice(0, random.below(out.length + 1)); break;
      case 5: out = Uint8Array.from([...out.subarray(0, at), ...out.subarray(at + 1 + random.below(8))]); break;
      case 6: out = Uint8Array.from([...out.subarray(0, at), ...out.subarray(Math.max(0, at - random.below(40)), at), ...out.subarray(at)]); break;
      default: {
        // A digit of a number in a text header.
        for (let i = at; i < out.length; i++) {
          if (out[i]! >= 0x30 && out[i]! <= 0x39) {
            out[i] = 0x30 + random.below(10);
            break;
          }
        }
      }
    }
  }
  return out;
}
