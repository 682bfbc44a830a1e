/** A stretch of sound on the page: its spectrogram with everything that shares its time axis, and what plays it. */
import { type Html, html, name } from './html.ts';
import { spectrogramText } from './media.ts';
import { significant, tickLabel } from './numbers.ts';
import type { Recording, Segment, Stretch, Strip } from './types.ts';
import { ticks } from './charts.ts';

/** What strips of one page have in common. */
export interface PageContext {
  frameRate: number;
  /** Loudest cell of all spectrograms, log10 of power. */
  loudest: number;
}

export const seconds = (time: number): string => `${time.toFixed(2)}\u202fs`;

/** Where a moment lies, in percent from the left. */
export function place(time: number, { start, end }: { start: number; end: number }): string {
  return `${Math.max(0, Math.min(100, (100 * (time - start)) / (end - start))).toFixed(3)}%`;
}

export function spectrogram(stretch: Stretch, page: PageContext, description: string): Html {
  const { mel } = stretch;
  const levels = spectrogramText(mel, page.loudest);
  return html`<canvas class="mel" width="${mel.frames}" height="${mel.mels}" data-levels="${levels}" role="img" aria-label="${description}"></canvas>`;
}

function tier(segments: readonly Segment[] | undefined, stretch: { start: number; end: number }): Html | undefined {
  const inside = segments?.filter(({ start, end }) => end > stretch.start && start < stretch.end);
  if (!inside?.length) return undefined;
  return html`<div class="tier" role="img" aria-label="${`Labels: ${inside.map(({ label }) => label).join(' ')}`}">${inside.map(({ start, end, label }) => {
    const [from, to] = [Math.max(start, stretch.start), Math.min(end, stretch.end)];
    const style = `left:${place(from, stretch)};width:${place(stretch.start + to - from, stretch)}`;
    return html`<span style="${style}" title="${`${label}, ${seconds(start)} to ${seconds(end)}`}">${name(label)}</span>`;
  })}</div>`;
}

/** Data for the player: which sound, where the stretch begins in it, how long it is. */
export function playable({ sound, start, end }: Stretch): Html | undefined {
  return sound && html`data-sound="${sound.index}" data-offset="${sound.offset.toFixed(4)}" data-seconds="${(end - start).toFixed(4)}"`;
}

export function playButton({ sound }: Stretch, what: string): Html | undefined {
  return sound && html`<button type="button" class="play" aria-label="${`play ${what}`}" aria-pressed="false">
<svg viewBox="0 0 12 12" aria-hidden="true"><path class="start" d="M2.5 1v10l8-5z"/><path class="stop" d="M2 2h8v8H2z"/></svg></button>`;
}

/** The outline of an activation as steps, one per frame, from 0 up to `maximum`, in a box of `width` by 100 that is as long as the stretch. */
export function curvePath({ activation, activationStart, start, end }: Pick<Strip, 'activation' | 'activationStart' | 'start' | 'end'>, frameRate: number, maximum: number, width: number): string {
  const x = (frame: number): string => ((width * (activationStart + frame / frameRate - start)) / (end - start)).toFixed(1);
  const y = (value: number): string => (100 - 96 * Math.max(0, Math.min(1, value / maximum))).toFixed(1);
  let path = `M${x(0)} 100`;
  activation.forEach((value, n) => {
    if (n === 0 || y(value) !== y(activation[n - 1])) path += `H${x(n)}V${y(value)}`;
  });
  return `${path}H${x(activation.length)}V100`;
}

function curve(one: Strip, frameRate: number, maximum: number): Html {
  return html`<svg class="curve" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true"><path d="${curvePath(one, frameRate, maximum, 1000)}"/></svg>`;
}

/** Spectrogram, activation, labels and player of one firing; all strips of a latent have the same `maximum` at the top of the curve. */
export function strip(one: Strip, latent: number, maximum: number, page: PageContext): Html {
  const { clip, start, end, firing } = one;
  const what = `${clip} from ${seconds(start)} to ${seconds(end)}`;
  const description = `Spectrogram of ${what}; latent ${latent} reaches ${significant(firing.value)} at ${seconds(firing.time)}`;
  const middle = firing.time + 0.5 / page.frameRate;
  return html`<figure class="strip" ${playable(one)}>
<div class="track">${spectrogram(one, page, description)}${curve(one, page.frameRate, maximum)}
<i class="peak" style="left:${place(middle, one)}"></i>${tier(one.segments, one)}<i class="head"></i></div>
<figcaption>${playButton(one, what)}<b>${significant(firing.value)}</b> <span>at ${seconds(firing.time)}</span>
<span class="clip" title="${clip}">${name(clip)}</span></figcaption>
</figure>`;
}

/** Shades of a heat strip. Each is one path, so a row costs at most so many elements. */
const shades = 8;

/** A latent's activation over a whole recording as cells, one per frame, darker for more. */
function heat(activation: Float32Array, frames: number, maximum: number): Html {
  const paths = new Array<string>(shades).fill('');
  activation.forEach((value, frame) => {
    if (value > 0 && frame < frames) paths[Math.min(shades - 1, Math.floor((value / maximum) * shades))] += `M${frame} 0h1v1h-1z`;
  });
  return html`<svg class="heat" viewBox="0 0 ${frames.toFixed(3)} 1" preserveAspectRatio="none" aria-hidden="true">${paths.map((path, n) =>
    path !== '' && html`<path d="${path}" opacity="${((n + 1) / shades).toFixed(3)}"/>`)}</svg>`;
}

/** A whole recording: spectrogram and labels, and below them some latents over time. `shown` are those with a section of their own. */
export function recording(one: Recording, shown: ReadonlySet<number>, page: PageContext): Html {
  const { clip, start, end, text, latents } = one;
  const frames = (end - start) * page.frameRate;
  const marks = ticks(start, end, 10);
  const description = `Spectrogram of ${clip}, ${seconds(end - start)}`;
  return html`<figure class="recording" ${playable(one)}>
<figcaption><div>${playButton(one, clip)}<span class="clip">${name(clip)}</span> <span class="quiet">${seconds(end - start)}</span></div>
${text !== undefined && html`<p>${name(text)}</p>`}</figcaption>
<div class="rows">
<div class="names" aria-hidden="true"></div>
<div class="track">${spectrogram(one, page, description)}${tier(one.segments, one)}</div>
${latents.map(({ latent, label, activation }) => {
    const maximum = activation.reduce((a, b) => Math.max(a, b), 1e-12);
    const title = html`<span class="number">${latent}</span>${label !== undefined && html` ${name(label)}`}`;
    const about = `Latent ${latent} over time, at most ${significant(maximum)}`;
    return html`<div class="names">${shown.has(latent) ? html`<a href="#latent-${latent}">${title}</a>` : title}</div>
<div class="track row" role="img" aria-label="${about}">${heat(activation, frames, maximum)}</div>`;
  })}
<div class="names"></div>
<div class="times" aria-hidden="true">${marks.map((mark, n) => html`<span style="left:${place(mark, one)}">${tickLabel(mark, marks[1] - marks[0])}${n === 0 && '\u202fs'}</span>`)}</div>
<div class="over"><i class="head"></i></div>
</div></figure>`;
}
