/**
 * The scripts of pages. They are written as functions, so that the compiler checks them, and embedded as their own source text:
 * tsc and Deno both only take the types out of it. For that a function names nothing outside of itself but what a page has, and gets
 * the others' work as an argument; a test runs the text by itself.
 */
import { paintSpectrograms } from './script-paint.ts';
import { openPlayer, type Player } from './script-player.ts';

/** A script that draws the spectrograms of a page and then does what is particular to it. */
export function scriptOf(page: (player: Player) => void): string {
  return `(${paintSpectrograms.toString()})();\n(${page.toString()})((${openPlayer.toString()})());`;
}

export function pageScript(): string {
  return scriptOf(report);
}

function report(player: Player): void {
  document.addEventListener('click', (event) => {
    const target = event.target as Element;
    const figure = target.closest<HTMLElement>('figure[data-sound]');
    if (!figure || figure.querySelector<HTMLButtonElement>('.play')!.disabled) return;
    const track = target.closest('.track');
    if (target.closest('.play')) {
      if (figure.classList.contains('playing')) player.stop();
      else void player.play(figure, 0);
    } else if (track) {
      const { left, width } = track.getBoundingClientRect();
      const share = Math.max(0, Math.min(0.999, (event.clientX - left) / width));
      void player.play(figure, share * Number(figure.dataset['seconds']));
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    player.stop();
    if (document.activeElement?.classList.contains('term')) (document.activeElement as HTMLElement).blur();
  });
}
