import { densityChart, lineChart } from './charts.ts';
import { note, pageOf, section } from './document.ts';
import { type Html, html } from './html.ts';
import { loudest } from './media.ts';
import { counted, percent, significant } from './numbers.ts';
import { pageScript } from './page-script.ts';
import { pageStyle } from './page-style.ts';
import { feature, featureTable, runFacts, scoreTable } from './sections.ts';
import { type PageContext, recording } from './stretch.ts';
import type { ReportData, ReportScores } from './types.ts';

/** How to read the sections. */
const guide = {
  scores: 'Small figures are 95\u202f% intervals from resampling clips. Point at a metric\'s name for its definition.',
  recording: 'A held-out recording and the latents that are most active in it, each on a scale of its own. Press a picture to hear it from there; Escape stops.',
  features: 'Each strip shows a moment of one recording: its spectrogram from low to high frequencies (mel scale), below it the latent\'s activation on '
    + 'the same time axis, and the labels of the recording where there are any. The marker is the firing that is shown. All strips of a latent share one '
    + 'scale; sound is brought to one level.',
};

/** The few numbers that people look for first. */
function headline({ metrics, intervals }: ReportScores): Html {
  const entry = (title: string, metric: string, write: (value: number) => string): Html | undefined => {
    const value = metrics[metric]?.value;
    if (value === undefined || value === null) return undefined;
    const range = intervals[metric];
    const between = range && range.low !== null && range.low !== range.high && html`<small>${write(range.low)} to ${write(range.high)}</small>`;
    return html`<div><dt>${title}</dt><dd>${write(value)}${between}</dd></div>`;
  };
  return html`<dl class="headline">
${entry('explained variance', 'explained_variance', (value) => significant(value))}
${entry('latents per frame', 'l0', (value) => significant(value))}
${entry('latents alive', 'frac_alive', percent)}
${entry('cosine with the input', 'cossim', (value) => significant(value))}
</dl>`;
}

/**
 * A report on a trained SAE as one HTML page that needs nothing else: styles, script, spectrograms and sound are inside, and it
 * loads nothing over the network. All ids, labels and texts are escaped. The same data give the same page.
 */
export function renderReport(data: ReportData): string {
  const { title, summary, run, scores, metrics, curves, density, features, labelsTried, sounds } = data;
  const stretches = [...(data.recording ? [data.recording] : []), ...features.flatMap(({ top, random }) => [...top, ...random])];
  const context: PageContext = { frameRate: run.frameRate, loudest: loudest(stretches.map(({ mel }) => mel)) };
  const shown = new Set(features.map(({ latent }) => latent));
  const body = html`<header>
<p class="over-title">cochlea: report on a sparse autoencoder</p>
<h1>${title}</h1>
${summary !== undefined && html`<p class="lead">${summary}</p>`}
<nav aria-label="sections"><a href="#run">Run</a><a href="#scores">Scores</a><a href="#training">Training</a>
${data.recording && html`<a href="#recording">One recording</a>`}${features.length > 0 && html`<a href="#features">Features</a>`}</nav>
${scores.length > 0 && headline(scores[0])}
</header>
<main>
${section('run', 'Run', runFacts(run))}
${section('scores', 'Scores on held-out frames', note(`${counted(run.heldOut.frames, 'frame')} of ${counted(run.heldOut.clips, 'clip')} that were not trained on. ${guide.scores}`), scoreTable(scores, metrics))}
${section('training', 'Training', html`<div class="charts">${curves.map(lineChart)}${densityChart(density, run.dSae)}</div>`)}
${data.recording && section('recording', 'One recording', note(guide.recording), recording(data.recording, shown, context))}
${features.length > 0 && section('features', 'Features', note(guide.features), featureTable(features), features.map((one) => feature(one, labelsTried, context)))}
</main>
<footer><p>${run.licence}</p></footer>`;
  return pageOf({ title, style: pageStyle, body, sounds, script: pageScript() });
}
