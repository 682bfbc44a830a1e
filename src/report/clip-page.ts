import { clipFigure } from './clip-section.ts';
import { clipScript } from './clip-script.ts';
import { clipStyle } from './clip-style.ts';
import type { ClipPageData, ClipPictureLatent } from './clip-types.ts';
import { note, pageOf, section } from './document.ts';
import { type Html, html, name, type Piece } from './html.ts';
import { loudest } from './media.ts';
import { significant, whole } from './numbers.ts';
import { pageStyle } from './page-style.ts';
import type { PageContext } from './stretch.ts';

function facts({ sae, model, hook, hookNote, frameRate, order }: ClipPageData): Html {
  const entry = (term: string, value: Piece): Html => html`<div><dt>${term}</dt><dd>${value}</dd></div>`;
  return html`<dl class="line">
${entry('autoencoder', html`${name(sae.name)}, ${sae.architecture}, ${whole(sae.dSae)} latents`)}
${entry('model', name(model))}
${entry('hook point', html`${name(hook)}${hookNote !== undefined && html` <span class="quiet">(${hookNote})</span>`}`)}
${entry('frame rate', `${significant(frameRate, 4)} per second`)}
${entry('latents', order ? html`by ${order.name}: ${order.definition}` : 'as named')}
</dl>`;
}

/** The activations in the form that the script reads: per run its first frame and then a number per frame. */
function spelled({ activation }: ClipPictureLatent): number[][] {
  const runs: number[][] = [];
  activation.forEach((value, frame) => {
    if (value === 0) return;
    if (frame === 0 || activation[frame - 1] === 0) runs.push([frame]);
    runs.at(-1)!.push(Number(value.toPrecision(4)));
  });
  return runs;
}

const guide = 'Each row is one latent over time, on a scale of its own; the numbers on the right are its peak, or its activation where the pointer or the sound is. Press a picture to hear it '
  + 'from there, a latent\'s number to see its moments in the spectrogram; Escape stops. With the keyboard: arrows move by a frame, Page Up and Page Down by a second, Enter plays. '
  + 'Sound is brought to one level.';

/**
 * What an SAE hears in some clips, and when, as one HTML page that needs nothing else (see renderReport): spectrogram and sound of each clip, and its
 * latents' activations frame by frame. All ids and texts are escaped. The same data give the same page.
 */
export function renderClips(data: ClipPageData): string {
  const { title, frameRate, clips, sounds } = data;
  const context: PageContext = { frameRate, loudest: loudest(clips.map(({ mel }) => mel)) };
  const contents = clips.length > 1 && html`<nav aria-label="clips">${clips.map(({ clip }, index) => html`<a href="#clip-${index}">${name(clip)}</a>`)}</nav>`;
  const body = html`<header>
<p class="over-title">cochlea: what a sparse autoencoder hears, and when</p>
<h1>${title}</h1>
${facts(data)}
${contents}
</header>
<main>
${note(guide)}
${clips.length === 1 ? clipFigure(clips[0]!, 0, context) : clips.map((clip, index) => section(`clip-${index}`, name(clip.clip), clipFigure(clip, index, context)))}
</main>`;
  const values = clips.map(({ frames, latents }) => ({ frames, latents: latents.map((one) => ({ latent: one.latent, runs: spelled(one) })) }));
  return pageOf({ title, style: pageStyle + clipStyle, body, sounds, data: { id: 'activations', value: { frameRate, clips: values } }, script: clipScript() });
}
