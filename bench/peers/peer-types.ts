/** As much of the peers' interfaces as is used here; the packages themselves are not there when this is compiled. */

export interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}

export interface Tfjs {
  setBackend(name: string): Promise<boolean>;
  backend(): { device: GPUDevice };
  tensor2d(values: Float32Array, shape: [number, number]): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  slice(x: TfTensor, begin: number[], size: number[]): TfTensor;
}

/** An array of jax-js. A function that takes one owns it; `ref` is one more hold on it. */
export interface JaxArray {
  readonly ref: JaxArray;
  dispose(): void;
  data(): Promise<Float32Array>;
  blockUntilReady(): Promise<JaxArray>;
  reshape(shape: number[]): JaxArray;
  transpose(): JaxArray;
  add(other: JaxArray | number): JaxArray;
  sub(other: JaxArray | number): JaxArray;
  mul(other: JaxArray | number): JaxArray;
  div(other: JaxArray | number): JaxArray;
  sum(axis?: number): JaxArray;
}

export interface Jax {
  init(device: 'webgpu'): Promise<string[]>;
  defaultDevice(device: 'webgpu'): void;
  getWebGPUDevice(): GPUDevice;
  blockUntilReady<T>(tree: T): Promise<T>;
  numpy: {
    array(values: Float32Array | number): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
    square(x: JaxArray): JaxArray;
    sqrt(x: JaxArray): JaxArray;
    minimum(a: JaxArray, b: JaxArray | number): JaxArray;
  };
  nn: { relu(x: JaxArray): JaxArray };
  jit<F>(f: F): F & { dispose(): void };
  valueAndGrad<A, B extends unknown[]>(f: (a: A, ...rest: B) => JaxArray): (a: A, ...rest: B) => [JaxArray, A];
}
