/**
 * The page's script. It is written as a function here, so that the compiler checks it, and embedded as its own source text:
 * tsc and Deno both only take the types out of it. For that it names nothing outside of itself but what a page has; a test
 * runs the text by itself.
 */
export function pageScript(): string {
  return `(${page.toString()})();`;
}

function page(): void {
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

  const sounds = JSON.parse(document.getElementById('sounds')!.textContent!) as string[];
  let context: AudioContext | undefined;
  let stop = (): void => {};
  let request = 0;
  let decoded: { index: number; buffer: AudioBuffer } | undefined;

  const decode = async (audio: AudioContext, index: number): Promise<AudioBuffer> => {
    if (decoded?.index !== index) {
      const text = atob(sounds[index].slice(sounds[index].indexOf(',') + 1));
      const bytes = new Uint8Array(text.length);
      for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
      decoded = { index, buffer: await audio.decodeAudioData(bytes.buffer) };
    }
    return decoded.buffer;
  };

  /** The gain that brings a stretch to -20 dB RMS, less where its peak would pass -1 dB: otherwise the ear prefers what is loud. */
  const levelling = (buffer: AudioBuffer, offset: number, seconds: number): number => {
    const first = Math.floor(offset * buffer.sampleRate);
    const samples = buffer.getChannelData(0).subarray(first, first + Math.ceil(seconds * buffer.sampleRate));
    let power = 0, peak = 0;
    for (const sample of samples) {
      power += sample * sample;
      peak = Math.max(peak, Math.abs(sample));
    }
    return peak === 0 ? 1 : Math.min(0.1 / Math.sqrt(power / samples.length), 0.89 / peak);
  };

  /** Plays a stretch from `from` seconds after its beginning to its end. */
  const play = async (figure: HTMLElement, from: number): Promise<void> => {
    stop();
    const mine = ++request;
    const [sound, offset, seconds] = ['sound', 'offset', 'seconds'].map((name) => Number(figure.dataset[name]));
    const button = figure.querySelector<HTMLButtonElement>('.play')!;
    const head = figure.querySelector<HTMLElement>('.head')!;
    context ??= new AudioContext();
    const audio = context;
    let buffer: AudioBuffer;
    try {
      await audio.resume();
      buffer = await decode(audio, sound);
    } catch {
      button.disabled = true;
      button.title = 'this browser cannot play the recording\'s format';
      return;
    }
    if (mine !== request) return; // something else was started while this was being decoded
    const source = new AudioBufferSourceNode(audio, { buffer });
    source.connect(new GainNode(audio, { gain: levelling(buffer, offset, seconds) })).connect(audio.destination);
    const began = audio.currentTime;
    source.start(began, offset + from, seconds - from);
    figure.classList.add('playing');
    button.setAttribute('aria-pressed', 'true');
    let running = true;
    const follow = (): void => {
      if (!running) return;
      head.style.left = `${Math.min(100, (100 * (from + audio.currentTime - began)) / seconds)}%`;
      requestAnimationFrame(follow);
    };
    follow();
    stop = () => {
      running = false;
      stop = () => {};
      source.onended = null;
      source.stop();
      figure.classList.remove('playing');
      button.setAttribute('aria-pressed', 'false');
    };
    source.onended = () => stop();
  };

  document.addEventListener('click', (event) => {
    const target = event.target as Element;
    const figure = target.closest<HTMLElement>('figure[data-sound]');
    if (!figure || figure.querySelector<HTMLButtonElement>('.play')!.disabled) return;
    const track = target.closest('.track');
    if (target.closest('.play')) {
      if (figure.classList.contains('playing')) {
        request++;
        stop();
      } else void play(figure, 0);
    } else if (track) {
      const { left, width } = track.getBoundingClientRect();
      const share = Math.max(0, Math.min(0.999, (event.clientX - left) / width));
      void play(figure, share * Number(figure.dataset['seconds']));
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    request++;
    stop();
    if (document.activeElement?.classList.contains('term')) (document.activeElement as HTMLElement).blur();
  });
}
