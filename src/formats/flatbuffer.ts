/**
 * Tables of a FlatBuffers buffer, read in place. Every offset of a hostile buffer is met by DataView's own bounds: what lies outside throws
 * RangeError. Format: https://flatbuffers.dev/internals/
 */

/** Tables and vector elements that may be read from one buffer: offsets may lead many places to one. */
const maxVisits = 1 << 16;

export class Table {
  readonly #view: DataView;
  readonly #at: number;
  readonly #visits: { left: number };

  private constructor(view: DataView, at: number, visits: { left: number }) {
    if (--visits.left < 0) throw new RangeError(`more than ${maxVisits} tables`);
    this.#view = view;
    this.#at = at;
    this.#visits = visits;
  }

  static root(bytes: Uint8Array): Table {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new Table(view, view.getUint32(0, true), { left: maxVisits });
  }

  /** Where the value of field `n` lies; undefined when the table leaves it out. */
  #field(n: number): number | undefined {
    const vtable = this.#at - this.#view.getInt32(this.#at, true);
    if (4 + 2 * n + 2 > this.#view.getUint16(vtable, true)) return undefined;
    const offset = this.#view.getUint16(vtable + 4 + 2 * n, true);
    return offset === 0 ? undefined : this.#at + offset;
  }

  byte(n: number): number {
    const at = this.#field(n);
    return at === undefined ? 0 : this.#view.getUint8(at);
  }

  short(n: number): number {
    const at = this.#field(n);
    return at === undefined ? 0 : this.#view.getInt16(at, true);
  }

  int(n: number): number {
    const at = this.#field(n);
    return at === undefined ? 0 : this.#view.getInt32(at, true);
  }

  /** A length or offset of 64 bits. */
  count(n: number): number {
    const at = this.#field(n);
    return at === undefined ? 0 : countAt(this.#view, at);
  }

  table(n: number): Table | undefined {
    const at = this.#field(n);
    return at === undefined ? undefined : new Table(this.#view, at + this.#view.getUint32(at, true), this.#visits);
  }

  text(n: number): string {
    const { at, length } = this.#vector(n, 1);
    return new TextDecoder().decode(new Uint8Array(this.#view.buffer, this.#view.byteOffset + at, length));
  }

  tables(n: number): Table[] {
    const { at, length } = this.#vector(n, 4);
    return Array.from({ length }, (_, i) => new Table(this.#view, at + 4 * i + this.#view.getUint32(at + 4 * i, true), this.#visits));
  }

  /** A vector of structs of two 64-bit counts. */
  pairs(n: number): [number, number][] {
    const { at, length } = this.#vector(n, 16);
    return Array.from({ length }, (_, i) => [countAt(this.#view, at + 16 * i), countAt(this.#view, at + 16 * i + 8)]);
  }

  #vector(n: number, elementBytes: number): { at: number; length: number } {
    const field = this.#field(n);
    if (field === undefined) return { at: 0, length: 0 };
    const at = field + this.#view.getUint32(field, true);
    const length = this.#view.getUint32(at, true);
    if (at + 4 + length * elementBytes > this.#view.byteLength) throw new RangeError(`a vector of ${length} elements`);
    if (elementBytes > 1 && length > this.#visits.left) throw new RangeError(`a vector of ${length} elements`);
    return { at: at + 4, length };
  }
}

function countAt(view: DataView, at: number): number {
  const value = Number(view.getBigInt64(at, true));
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`a count of ${value}`);
  return value;
}
