/** A forward discrete Fourier transform of one length, in place on separate real and imaginary parts. */
export type Fft = (re: Float64Array, im: Float64Array) => void;

function factors(n: number): number[] {
  const found: number[] = [];
  for (let rest = n, f = 4; rest > 1; f = f === 4 ? 2 : f === 2 ? 3 : f + 2) {
    if (f * f > rest && f !== 4 && f !== 2) f = rest;
    for (; rest % f === 0; rest /= f) found.push(f);
  }
  return found;
}

/** One pass: `stride` interleaved transforms of length m * r become r times as many of length m. */
interface Pass {
  r: number;
  m: number;
  stride: number;
  /** [m, r, r]: exp(-2 pi i j (p + m k) / (m r)) for place p, output j, input k: the butterfly and its twiddle in one. */
  cos: Float64Array;
  sin: Float64Array;
}

function planPass(r: number, m: number, stride: number): Pass {
  const cos = new Float64Array(m * r * r);
  const sin = new Float64Array(m * r * r);
  for (let i = 0; i < cos.length; i++) {
    const [p, j, k] = [Math.floor(i / (r * r)), Math.floor(i / r) % r, i % r];
    const angle = (-2 * Math.PI * ((j * (p + m * k)) % (m * r))) / (m * r);
    cos[i] = Math.cos(angle);
    sin[i] = Math.sin(angle);
  }
  return { r, m, stride, cos, sin };
}

function runPass({ r, m, stride, cos, sin }: Pass, fromRe: Float64Array, fromIm: Float64Array, toRe: Float64Array, toIm: Float64Array): void {
  for (let p = 0; p < m; p++) {
    for (let j = 0; j < r; j++) {
      const turns = (p * r + j) * r;
      for (let q = 0; q < stride; q++) {
        let re = 0;
        let im = 0;
        for (let k = 0, at = q + stride * p; k < r; k++, at += stride * m) {
          const c = cos[turns + k]!;
          const s = sin[turns + k]!;
          re += fromRe[at]! * c - fromIm[at]! * s;
          im += fromRe[at]! * s + fromIm[at]! * c;
        }
        toRe[q + stride * (r * p + j)] = re;
        toIm[q + stride * (r * p + j)] = im;
      }
    }
  }
}

// Beyond this a prime factor costs more than Bluestein's detour.
const largestRadix = 100;

/**
 * Plans X[k] = sum over j of x[j] exp(-2 pi i j k / n) for any n, by Stockham's mixed-radix algorithm (C. Van Loan,
 * Computational Frameworks for the Fast Fourier Transform, 1992, section 1.7): every pass takes one factor r out of n
 * and writes its results in order, so no bit reversal is needed. The work is n times the sum of the factors of n.
 * With the two arguments exchanged it computes the inverse, times n.
 */
export function planFft(n: number): Fft {
  const radices = factors(n);
  if (radices.some((r) => r > largestRadix)) return planBluestein(n);
  let stride = 1;
  const passes = radices.map((r) => {
    const pass = planPass(r, n / (stride * r), stride);
    stride *= r;
    return pass;
  });
  const spareRe = new Float64Array(n);
  const spareIm = new Float64Array(n);
  return (re, im) => {
    passes.forEach((pass, i) => (i % 2 === 0 ? runPass(pass, re, im, spareRe, spareIm) : runPass(pass, spareRe, spareIm, re, im)));
    if (passes.length % 2 === 1) {
      re.set(spareRe);
      im.set(spareIm);
    }
  };
}

/**
 * Bluestein's algorithm (1970) for n with a large prime factor: as j k = (j^2 + k^2 - (k - j)^2) / 2, the transform is a
 * convolution with the chirp w[j] = exp(pi i j^2 / n), done by transforms of a power of two.
 */
function planBluestein(n: number): Fft {
  const size = 2 ** Math.ceil(Math.log2(2 * n - 1));
  const fft = planFft(size);
  // j^2 grows past what an angle bears; it only matters modulo 2 n.
  const angles = Float64Array.from({ length: n }, (_, j) => (Math.PI * ((j * j) % (2 * n))) / n);
  const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
  const chirpRe = new Float64Array(size);
  const chirpIm = new Float64Array(size);
  for (let j = 0; j < n; j++) {
    chirpRe[j] = chirpRe[(size - j) % size] = cos[j]!;
    chirpIm[j] = chirpIm[(size - j) % size] = sin[j]!;
  }
  fft(chirpRe, chirpIm);
  const aRe = new Float64Array(size);
  const aIm = new Float64Array(size);
  return (re, im) => {
    aRe.fill(0, n);
    aIm.fill(0, n);
    for (let j = 0; j < n; j++) {
      aRe[j] = re[j]! * cos[j]! + im[j]! * sin[j]!;
      aIm[j] = im[j]! * cos[j]! - re[j]! * sin[j]!;
    }
    fft(aRe, aIm);
    for (let j = 0; j < size; j++) {
      const x = aRe[j]!;
      const y = aIm[j]!;
      aRe[j] = (x * chirpRe[j]! - y * chirpIm[j]!) / size;
      aIm[j] = (x * chirpIm[j]! + y * chirpRe[j]!) / size;
    }
    fft(aIm, aRe);
    for (let k = 0; k < n; k++) {
      re[k] = aRe[k]! * cos[k]! + aIm[k]! * sin[k]!;
      im[k] = aIm[k]! * cos[k]! - aRe[k]! * sin[k]!;
    }
  };
}
