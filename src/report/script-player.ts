/** What plays the sounds of a page, one at a time. Embedded as its own source text: see page-script.ts. */

export interface Player {
  /** Plays a figure's stretch from `from` to `to` (its end, unless told) seconds after its beginning, in the place of what plays or was about to. */
  play(figure: HTMLElement, from: number, to?: number): Promise<void>;
  stop(): void;
  /** Told at every picture where in a figure's stretch the sound is, in seconds, and without seconds that it has stopped. */
  onTime(figure: HTMLElement, seconds?: number): void;
}

export function openPlayer(): Player {
  const sounds = JSON.parse(document.getElementById('sounds')!.textContent!) as string[];
  let context: AudioContext | undefined;
  let end = (): void => {};
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

  const player: Player = {
    async play(figure, from, to) {
      player.stop();
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
      source.start(began, offset + from, Math.min(to ?? seconds, seconds) - from);
      figure.classList.add('playing');
      button.setAttribute('aria-pressed', 'true');
      let running = true;
      const follow = (): void => {
        if (!running) return;
        const now = Math.min(seconds, from + audio.currentTime - began);
        head.style.left = `${(100 * now) / seconds}%`;
        player.onTime(figure, now);
        requestAnimationFrame(follow);
      };
      follow();
      end = () => {
        running = false;
        end = () => {};
        source.onended = null;
        source.stop();
        figure.classList.remove('playing');
        button.setAttribute('aria-pressed', 'false');
        player.onTime(figure);
      };
      source.onended = () => end();
    },
    stop() {
      request++;
      end();
    },
    onTime() {},
  };
  return player;
}
