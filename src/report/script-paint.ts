/** Draws the spectrograms of a page. Embedded as its own source text: see page-script.ts. */
export function paintSpectrograms(): void {
  /** 64 colours from black over violet and orange to pale yellow; lightness rises evenly, so the picture reads without colour vision and in grey print. */
  const colours = ((): Uint8ClampedArray => {
    const table = new Uint8ClampedArray(64 * 4);
    // Lightness, chroma and hue of OKLCH (Ottosson 2020) along the way.
    const stops = [[0.1, 0.03, 295], [0.36, 0.15, 305], [0.58, 0.2, 360], [0.78, 0.15, 410], [0.97, 0.08, 460]];
    for (let level = 0; level < 64; level++) {
      const at = (level / 63) * (stops.length - 1);
      const n = Math.min(stops.length - 2, Math.floor(at));
      const [lightness, chroma, hue] = stops[n].map((from, part) => from + (stops[n + 1][part] - from) * (at - n));
      const a = chroma * Math.cos((hue * Math.PI) / 180), b = chroma * Math.sin((hue * Math.PI) / 180);
      const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
      const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
      const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
      const linear = [
        4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
        -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
        -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
      ];
      linear.forEach((value, channel) => {
        const clipped = Math.max(0, value);
        table[level * 4 + channel] = 255 * (clipped <= 0.0031308 ? 12.92 * clipped : 1.055 * clipped ** (1 / 2.4) - 0.055);
      });
      table[level * 4 + 3] = 255;
    }
    return table;
  })();

  /** The level of a base64 digit. */
  const levels = new Uint8Array(128);
  [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'].forEach((digit, level) => {
    levels[digit.charCodeAt(0)] = level;
  });

  for (const canvas of document.querySelectorAll<HTMLCanvasElement>('canvas[data-levels]')) {
    const text = canvas.dataset['levels']!;
    const context = canvas.getContext('2d')!;
    const picture = context.createImageData(canvas.width, canvas.height);
    for (let n = 0; n < text.length; n++) {
      const level = levels[text.charCodeAt(n)] * 4;
      for (let channel = 0; channel < 4; channel++) picture.data[n * 4 + channel] = colours[level + channel];
    }
    context.putImageData(picture, 0, 0);
  }
}
