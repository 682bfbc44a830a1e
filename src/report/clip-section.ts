/** One clip on a page: its spectrogram, under it the activation of each latent on the same time axis, and the same in numbers. */
import { ticks } from './charts.ts';
import type { ClipPicture, ClipPictureLatent } from './clip-types.ts';
import { type Html, html, name } from './html.ts';
import { counted, percent, significant, tickLabel, whole } from './numbers.ts';
import { curvePath, type PageContext, place, playable, playButton, seconds, spectrogram } from './stretch.ts';

/** Pixels that a second takes at least: what does not fit then is scrolled to. */
const pixelsPerSecond = 36;
/** Runs that the table writes out, the strongest. */
const writtenRuns = 6;
/** Seconds on either side of a peak that its button plays. */
const around = 0.5;

/** Activation over the clip, on the latent's own scale; negative activations, which few SAEs have, in a colour of their own. */
function curve({ activation }: ClipPictureLatent, { start, end }: ClipPicture, frameRate: number): Html {
  const width = Math.max(1000, Math.ceil(100 * (end - start)));
  const maximum = activation.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30);
  const path = (part: Float32Array): string => curvePath({ activation: part, activationStart: 0, start, end }, frameRate, maximum, width);
  const negative = activation.some((value) => value < 0) && html`<path class="negative" d="${path(activation.map((value) => -value))}"/>`;
  return html`<svg class="curve" viewBox="0 0 ${width} 100" preserveAspectRatio="none" aria-hidden="true"><path d="${path(activation)}"/>${negative}</svg>`;
}

function row(one: ClipPictureLatent, clip: ClipPicture, frameRate: number): Html {
  const { latent, firings, peak, peakTime } = one;
  const about = peak === undefined ? `Latent ${latent} does not fire` : `Latent ${latent} fires on ${whole(firings)} of ${counted(clip.frames, 'frame')}, at most ${significant(peak)} at ${seconds(peakTime!)}`;
  return html`<div class="names" data-latent="${latent}"><button type="button" class="latent" aria-pressed="false" aria-label="${`latent ${latent}: show where it fires`}">${latent}</button></div>
<div class="track row" data-latent="${latent}" role="img" aria-label="${about}">${curve(one, clip, frameRate)}</div>
<div class="value" data-latent="${latent}" aria-hidden="true">${peak === undefined ? '0' : significant(peak)}</div>`;
}

/** The strongest runs of a latent, in order of time. */
function when({ runs }: ClipPictureLatent): string {
  const strongest = new Set([...runs].sort((a, b) => Math.abs(b.peak) - Math.abs(a.peak) || a.from - b.from).slice(0, writtenRuns));
  const written = runs.filter((run) => strongest.has(run)).map(({ from, to }) => `${from.toFixed(2)}\u2013${to.toFixed(2)}`).join(', ');
  return runs.length > writtenRuns ? `${written} and ${runs.length - writtenRuns} more` : written;
}

function numbers(clip: ClipPicture): Html {
  const { latents, end, sound } = clip;
  const line = (one: ClipPictureLatent): Html => {
    const { latent, firings, share, mean, peak, peakTime } = one;
    const hear = sound && peakTime !== undefined && html`<button type="button" class="hear" data-from="${Math.max(0, peakTime - around).toFixed(3)}" data-to="${Math.min(end, peakTime + around).toFixed(3)}"
aria-label="${`hear the peak of latent ${latent} at ${seconds(peakTime)}`}">${peakTime.toFixed(2)}</button>`;
    return html`<tr data-latent="${latent}"><th scope="row">${latent}</th><td>${whole(firings)}</td><td>${percent(share)}</td><td class="more">${significant(mean)}</td>
<td>${peak === undefined ? '' : significant(peak)}</td><td>${hear || peakTime?.toFixed(2)}</td><td class="text more">${when(one)}</td></tr>`;
  };
  return html`<div class="scroll"><table class="numbers"><thead><tr><th scope="col">latent</th><th scope="col">firings</th><th scope="col">share</th><th scope="col" class="more">mean</th>
<th scope="col">peak</th><th scope="col">at, s</th><th scope="col" class="text more">fires from\u2013to, s</th></tr></thead><tbody>${latents.map(line)}</tbody></table></div>`;
}

/** `index`: which of the page's clips it is, for the script. */
export function clipFigure(clip: ClipPicture, index: number, page: PageContext): Html {
  const { clip: id, start, end, part, text, frames, l0, latents } = clip;
  const long = seconds(end - start);
  const marks = ticks(start, end, Math.max(10, (end - start) / 5));
  const least = Math.ceil((end - start) * pixelsPerSecond);
  return html`<figure class="recording clip-figure" data-clip="${index}" ${playable(clip)}>
<figcaption><div>${playButton(clip, id)}<span class="clip">${name(id)}</span> <span class="quiet">${long}${part && ` from ${seconds(part.start)} to ${seconds(part.end)}`}, ${counted(frames, 'frame')}, ${significant(l0)} latents per frame</span></div>
${text !== undefined && html`<p>${name(text)}</p>`}</figcaption>
<div class="board"><div class="rows" style="--least:${least}px">
<div class="names bands" aria-hidden="true"><span>8 kHz</span><span>0</span></div>
<div class="track">${spectrogram(clip, page, `Spectrogram of ${id}, ${long}`)}<div class="spans" aria-hidden="true"></div></div>
<div class="value bands" aria-hidden="true"><span></span><span class="now">peak</span></div>
${latents.map((one) => row(one, clip, page.frameRate))}
<div class="names"></div>
<div class="times" aria-hidden="true">${marks.map((mark, n) => html`<span${mark > start + 0.97 * (end - start) && html` class="end"`} style="left:${place(mark, clip)}">${tickLabel(mark, marks[1] - marks[0])}${n === 0 && '\u202fs'}</span>`)}</div>
<div class="value"></div>
<div class="over" role="slider" tabindex="0" aria-label="${`place in ${id}`}" aria-valuemin="0" aria-valuemax="${(end - start).toFixed(3)}" aria-valuenow="0" aria-valuetext="${seconds(0)}"><i class="cursor"></i><i class="head"></i></div>
</div></div>
${numbers(clip)}
</figure>`;
}
