/**
 * Every failure that a person can cause or mend has a stable code. The message says what was wrong and
 * where; the hint says what to do. The command line prints both on one line; `--verbose` adds the stack.
 */
export type ErrorCode =
  | 'usage' // a flag, option or argument that cannot be
  | 'config' // a configuration whose fields contradict each other or lie outside their range
  | 'file-missing'
  | 'file-damaged' // exists, but is not what it claims to be: truncated, wrong checksum, wrong type
  | 'file-exists' // would overwrite something whole
  | 'file-system' // permission, disk full, I/O
  | 'audio' // a recording that cannot be decoded
  | 'model' // an ONNX file that cannot be used as asked
  | 'hook' // a hook point that the model does not have
  | 'fetch' // a model or file could not be brought here
  | 'gpu-missing'
  | 'gpu-lost'
  | 'gpu-memory'
  | 'gpu-error' // a validation or internal error of the GPU runtime: a bug of ours or of a driver
  | 'not-finite' // NaN or infinity where a number must be
  | 'interrupted'
  | 'runtime'; // this runtime (Node, Deno, browser) cannot do what was asked

/** One class for all: `code` tells them apart, `hint` says what to do. */
export class CochleaError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CochleaError';
    this.code = code;
    this.hint = hint;
  }

  /** What a person sees: one line. */
  get line(): string {
    return this.hint === undefined ? this.message : `${this.message}: ${this.hint}`;
  }
}
