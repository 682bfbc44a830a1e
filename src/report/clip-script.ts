/** What a page on clips does: a cursor with the activations under it, sound that the cursor follows, latents picked out. */
import { scriptOf } from './page-script.ts';
import type { Player } from './script-player.ts';

export function clipScript(): string {
  return scriptOf(clipPage);
}

/** Embedded as its own source text: see page-script.ts. */
function clipPage(player: Player): void {
  type Latent = { latent: number; activation: Float32Array; runs: number[][] };
  type Spelled = { frameRate: number; clips: { frames: number; latents: { latent: number; runs: number[][] }[] }[] };
  const { frameRate, clips } = JSON.parse(document.getElementById('activations')!.textContent!) as Spelled;
  const all = <E extends Element>(root: ParentNode, what: string): E[] => [...root.querySelectorAll<E>(what)];
  const written = (value: number): string => (value === 0 ? '0' : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(1) : value.toPrecision(3)).replace('-', '\u2212');

  /** Of one figure: everything that changes while it is looked at. */
  const open = (figure: HTMLElement) => {
    const { frames, latents: spelled } = clips[Number(figure.dataset['clip'])]!;
    const latents: Latent[] = spelled.map(({ latent, runs }) => {
      const activation = new Float32Array(frames);
      for (const [first, ...values] of runs) activation.set(values, first);
      return { latent, activation, runs };
    });
    const find = <E extends HTMLElement>(what: string): E => figure.querySelector<E>(what)!;
    const board = find('.board'), over = find('.over'), cursor = find('.cursor'), now = find('.now'), spans = find('.spans');
    const values = all<HTMLElement>(figure, '.value[data-latent]');
    const peaks = values.map(({ textContent }) => textContent);
    const seconds = Number(over.getAttribute('aria-valuemax'));
    const share = (time: number): string => `${Math.max(0, Math.min(100, (100 * time) / seconds))}%`;
    /** Where pointer or keyboard are, and the sound, in seconds; where none is, peaks are shown. */
    let held: number | undefined, heard: number | undefined;

    const show = (): void => {
      const time = held ?? heard;
      const frame = time === undefined ? -1 : Math.floor(time * frameRate + 1e-6);
      cursor.style.left = share(held ?? 0);
      cursor.style.display = held === undefined ? '' : 'block';
      now.textContent = time === undefined ? 'peak' : `${time.toFixed(2)} s`;
      values.forEach((element, n) => {
        const value = latents[n]!.activation[frame] ?? 0;
        element.textContent = time === undefined ? peaks[n]! : written(value);
        element.classList.toggle('silent', time !== undefined && value === 0);
      });
    };
    const keepInView = (time: number): void => {
      const { left, width } = over.getBoundingClientRect(), view = board.getBoundingClientRect();
      const x = left + (width * time) / seconds, side = left - view.left + board.scrollLeft;
      if (x < view.left + side || x > view.right - side) board.scrollLeft += x - view.left - side;
    };
    return {
      figure, over, seconds,
      hold(time: number | undefined): void {
        held = time;
        show();
      },
      hear(time: number | undefined): void {
        heard = time;
        show();
        if (time !== undefined) keepInView(time);
      },
      /** Moves the cursor by keyboard; says where it is and what fires there. */
      step(time: number): void {
        held = Math.max(0, Math.min((frames - 1) / frameRate, time));
        show();
        keepInView(held);
        const frame = Math.round(held * frameRate);
        const firing = latents.filter(({ activation }) => activation[frame] !== 0).map(({ latent, activation }) => `latent ${latent} ${written(activation[frame]!)}`);
        over.setAttribute('aria-valuenow', held.toFixed(3));
        over.setAttribute('aria-valuetext', `${held.toFixed(2)} seconds: ${firing.length > 0 ? firing.join(', ') : 'none of them fires'}`);
      },
      get place(): number {
        return Number(over.getAttribute('aria-valuenow'));
      },
      timeAt: (x: number): number => {
        const { left, width } = over.getBoundingClientRect();
        return Math.max(0, Math.min(0.999, (x - left) / width)) * seconds;
      },
      /** Marks where a latent fires in the spectrogram, and dims the rest; undefined: neither. */
      choose(latent: number | undefined): void {
        const marked: HTMLElement[] = [];
        const mark = (kind: string, from: number, to: number): void => {
          if (to <= from) return;
          const span = document.createElement('i');
          span.className = kind;
          span.style.left = share(from);
          span.style.width = `calc(${share(to)} - ${share(from)})`;
          marked.push(span);
        };
        const own = latents.find((one) => one.latent === latent);
        let behind = 0;
        for (const [first, ...run] of own?.runs ?? []) {
          mark('off', behind, first! / frameRate);
          behind = (first! + run.length) / frameRate;
          mark('on', first! / frameRate, behind);
        }
        if (own) mark('off', behind, seconds);
        spans.replaceChildren(...marked);
      },
    };
  };

  const boards = new Map(all<HTMLElement>(document, 'figure[data-clip]').map((figure) => [figure, open(figure)]));
  const boardOf = (target: EventTarget | null): ReturnType<typeof open> | undefined => {
    const figure = (target as Element | null)?.closest<HTMLElement>('figure[data-clip]');
    return figure ? boards.get(figure) : undefined;
  };
  const playable = (figure: HTMLElement): boolean => figure.dataset['sound'] !== undefined && !figure.querySelector<HTMLButtonElement>('.play')!.disabled;
  player.onTime = (figure, time) => boards.get(figure)?.hear(time);

  let chosen: number | undefined;
  const choose = (latent: number | undefined): void => {
    chosen = latent;
    for (const element of all<HTMLElement>(document, '[data-latent]')) element.classList.toggle('chosen', Number(element.dataset['latent']) === latent);
    for (const button of all<HTMLElement>(document, '.latent')) button.setAttribute('aria-pressed', String(Number(button.textContent) === latent));
    for (const board of boards.values()) board.choose(latent);
  };

  document.addEventListener('click', (event) => {
    const target = event.target as Element, board = boardOf(target);
    if (!board) return;
    const { figure } = board, button = target.closest('button');
    if (button?.classList.contains('latent')) choose(Number(button.textContent) === chosen ? undefined : Number(button.textContent));
    else if (!playable(figure)) return;
    else if (button?.classList.contains('hear')) void player.play(figure, Number(button.dataset['from']), Number(button.dataset['to']));
    else if (button?.classList.contains('play') && figure.classList.contains('playing')) player.stop();
    else if (button?.classList.contains('play')) void player.play(figure, 0);
    else if (target.closest('.track')) void player.play(figure, board.timeAt((event as MouseEvent).clientX));
  });
  document.addEventListener('pointermove', (event) => {
    const track = (event.target as Element).closest?.('.track'), under = track ? boardOf(track) : undefined;
    for (const board of boards.values()) {
      if (board === under) board.hold(board.timeAt(event.clientX));
      else if (document.activeElement !== board.over) board.hold(undefined);
    }
  });
  document.addEventListener('pointerout', (event) => {
    if (event.relatedTarget === null) boardOf(event.target)?.hold(undefined);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      player.stop();
      return choose(undefined);
    }
    const board = [...boards.values()].find(({ over }) => over === document.activeElement);
    if (!board || event.altKey || event.ctrlKey || event.metaKey) return; // those are the browser's: back, and the like
    const steps: Record<string, number> = {
      ArrowRight: 1 / frameRate, ArrowLeft: -1 / frameRate, ArrowUp: 1 / frameRate, ArrowDown: -1 / frameRate, PageUp: 1, PageDown: -1, Home: -Infinity, End: Infinity,
    };
    const step = steps[event.key];
    if (step !== undefined) board.step(board.place + step);
    else if (event.key !== 'Enter' && event.key !== ' ') return;
    else if (board.figure.classList.contains('playing')) player.stop();
    else if (playable(board.figure)) {
      board.hold(undefined); // the numbers follow the sound until the next step
      void player.play(board.figure, board.place);
    }
    event.preventDefault();
  });
  document.addEventListener('focusout', (event) => {
    if ((event.target as Element).classList.contains('over')) boardOf(event.target)?.hold(undefined);
  });
}
