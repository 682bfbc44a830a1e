/** Counts what an equation takes when it is carried out term by term. */

export class Meter {
  flops = 0;
  readonly #touched = new Set<string>();

  /** So many additions, multiplications, divisions or functions of floats. */
  do(operations = 1): void {
    this.flops += operations;
  }

  /** An element is read, or written. Doing either twice costs once. */
  read(tensor: string, ...at: number[]): void {
    this.#touched.add(`r ${tensor} ${at.join()}`);
  }

  write(tensor: string, ...at: number[]): void {
    this.#touched.add(`w ${tensor} ${at.join()}`);
  }

  change(tensor: string, ...at: number[]): void {
    this.read(tensor, ...at);
    this.write(tensor, ...at);
  }

  get bytes(): number {
    return 4 * this.#touched.size;
  }
}

/** Calls for 0 ... n - 1, and for all pairs of two such ranges. */
export function each(n: number, work: (i: number) => void): void {
  for (let i = 0; i < n; i++) work(i);
}

export function eachOf(rows: number, columns: number, work: (row: number, column: number) => void): void {
  each(rows, (row) => each(columns, (column) => work(row, column)));
}
