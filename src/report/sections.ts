/** The parts of a report, from top to bottom. */
import { type Html, html, name, type Piece } from './html.ts';
import { counted, duration, percent, significant, whole } from './numbers.ts';
import { type PageContext, strip } from './stretch.ts';
import type { ReportData, ReportFeature, ReportScores, RunFacts, Strip } from './types.ts';

function facts(rows: [string, Piece][]): Html {
  return html`<dl>${rows.map(([term, value]) => html`<div><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** What was trained, on what, with what. */
export function runFacts(run: RunFacts): Html {
  const amount = ({ clips, hours, frames }: RunFacts['training']): string => `${counted(frames, 'frame')}, ${counted(clips, 'clip')}, ${duration(hours)}`;
  const group = (title: string, rows: [string, Piece][]): Html => html`<div><h3>${title}</h3>${facts(rows)}</div>`;
  return html`<div class="facts">
${group('Model', [
    ['model', name(run.model)], ['hook point', name(run.hook)], ['layer', run.layer ?? 'none'], ['frame rate', `${significant(run.frameRate, 4)} per second`],
  ])}
${group('Autoencoder', [
    ['architecture', run.architecture], ['d_in', whole(run.dIn)], ['d_sae', `${whole(run.dSae)} (${significant(run.dSae / run.dIn)} × d_in)`], ['k', run.k ?? 'none'],
  ])}
${group('Training', [['steps', whole(run.steps)], ['batch', counted(run.batch, 'frame')], ['seed', run.seed], ['device', name(run.adapter)]])}
${group('Software', run.software.map((one) => [one.name, one.version]))}
<div class="wide">${group('Recordings', [['trained on', amount(run.training)], ['held out', amount(run.heldOut)], ['licence', name(run.licence)]])}</div>
</div>`;
}

/** An interval in small figures; nothing where the number is the same in every resample. */
function interval(range: ReportScores['intervals'][string]): Html | undefined {
  if (range.low === null) return html`<small title="${range.reason}">no interval</small>`;
  return range.low === range.high ? undefined : html`<small>${significant(range.low)} to ${significant(range.high)}</small>`;
}

/** One row per metric, one column per SAE or baseline; what a metric means opens on hover, on focus and by a tap. */
export function scoreTable(scores: readonly ReportScores[], metrics: ReportData['metrics']): Html {
  const cell = ({ metrics: values, intervals }: ReportScores, metric: string): Html => {
    const value = Object.hasOwn(values, metric) ? values[metric] : undefined;
    const range = Object.hasOwn(intervals, metric) ? intervals[metric] : undefined;
    if (!value) return html`<td></td>`;
    if (value.value === null) return html`<td><span class="quiet" title="${value.reason}">none</span></td>`;
    const written = Number.isInteger(value.value) ? whole(value.value) : significant(value.value, 4);
    return html`<td>${written}${range && interval(range)}</td>`;
  };
  const term = ({ name: metric, definition, unit, source }: ReportData['metrics'][number], n: number): Html => html`<th scope="row">
<button type="button" class="term" aria-describedby="metric-${n}">${metric.replaceAll('_', ' ')}</button><span class="tip" role="tooltip" id="metric-${n}">${definition}
<br><span class="quiet">Unit: ${unit}. Source: ${source}.</span></span></th>`;
  return html`<div class="scroll"><table class="scores">
<thead><tr><th scope="col">metric</th>${scores.map((one) => html`<th scope="col">${name(one.name)}</th>`)}</tr></thead>
<tbody>${metrics.map((metric, n) => html`<tr>${term(metric, n)}${scores.map((one) => cell(one, metric.name))}</tr>\n`)}</tbody></table></div>`;
}

/** All features at a glance. */
export function featureTable(features: readonly ReportFeature[]): Html {
  const labelled = features.some(({ label }) => label);
  const row = ({ latent, label, density, clips, meanActivation, maxActivation }: ReportFeature): Html => html`<tr>
<th scope="row"><a href="#latent-${latent}">${latent}</a></th>${labelled && html`<td class="text">${label && name(label.label)}</td><td>${label && label.f1.toFixed(2)}</td>`}
<td>${percent(density)}</td><td>${whole(clips)}</td><td class="more">${significant(meanActivation)}</td><td class="more">${significant(maxActivation)}</td></tr>`;
  return html`<table class="index"><thead><tr><th scope="col">latent</th>${labelled && html`<th scope="col" class="text">best label</th><th scope="col">F1</th>`}
<th scope="col">density</th><th scope="col">clips</th><th scope="col" class="more">mean</th><th scope="col" class="more">max</th></tr></thead>
<tbody>${features.map(row)}</tbody></table>`;
}

function strips(title: string, list: readonly Strip[], latent: number, maximum: number, page: PageContext): Html | undefined {
  if (list.length === 0) return undefined;
  return html`<h4>${title}</h4><div class="strips">${list.map((one) => strip(one, latent, maximum, page))}</div>`;
}

/** One feature: how often it fires, what it coincides with, and where it can be seen and heard. */
export function feature(one: ReportFeature, labelsTried: number | undefined, page: PageContext): Html {
  const { latent, label, density, clips, meanActivation, maxActivation, top, random } = one;
  const all = [...top, ...random];
  const maximum = all.reduce((max, { activation }) => activation.reduce((a, b) => Math.max(a, b), max), Math.max(maxActivation, 1e-12));
  return html`<article id="latent-${latent}" aria-labelledby="title-${latent}">
<header><h3 id="title-${latent}">Latent <span class="number">${latent}</span>${label && html` <span class="label">${name(label.label)}</span>`}</h3>
${facts([
    ['density', percent(density)], ['clips', whole(clips)], ['mean', significant(meanActivation)], ['max', significant(maxActivation)],
    ...(label ? [['F1', label.f1.toFixed(2)] as [string, Piece]] : []),
  ])}</header>
${label && html`<p class="quiet">${whole(label.hits)} of its ${whole(label.fired)} firings on labelled frames lie on ${name(label.label)}
(precision ${label.precision.toFixed(2)}); it fires on ${whole(label.hits)} of the ${counted(label.support, 'frame')} of ${name(label.label)}
(recall ${label.recall.toFixed(2)}).${labelsTried !== undefined && ` Best of ${whole(labelsTried)} labels, chosen on these frames.`}</p>`}
${strips('Strongest firings, one per clip', top, latent, maximum, page)}
${strips('Firings drawn at random', random, latent, maximum, page)}
</article>`;
}
