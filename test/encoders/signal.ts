/** A rising tone that dies away over a quiet one, as `signal` of test/fixtures/encoders/make.py. */
export const signal = (samples: number, rate = 16_000): Float32Array => Float32Array.from({ length: samples }, (_, i) => {
  const t = i / rate, turn = 2 * Math.PI;
  return 0.5 * Math.sin(turn * (200 * t + 700 * t * t)) * Math.exp(-1.5 * t) + 0.02 * Math.sin(turn * 3000 * t) + 0.01;
});
