/** Line charts and histograms as SVG; colours come from the page's style sheet, so that they follow light, dark and print. */
import { type Html, html } from './html.ts';
import { counted, significant, tickLabel, whole } from './numbers.ts';
import type { Curve, ReportData } from './types.ts';

const width = 360, height = 200;
const plot = { left: 52, right: 352, top: 12, bottom: 160 };
/** Between bars. */
const gap = 1.5;

/** Round numbers from `low` to `high`, about `count` of them. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => power * factor >= rough * 0.999)!;
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) => (first + n) * step);
}

/** 1, 10, 100 ... and, where these are few, 2 and 5 times as many. */
export function logTicks(low: number, high: number): number[] {
  const factors = high / low >= 1000 ? [1] : high / low >= 20 ? [1, 3] : [1, 2, 5];
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of factors) if (factor * 10 ** power >= low * 0.999 && factor * 10 ** power <= high * 1.001) found.push(factor * 10 ** power);
  }
  return found;
}

/** More points than this cannot be told apart. */
const maxPoints = 400;

/** Means of equal runs of steps; a curve of thousands of steps would only be a black band. */
function thinned(points: Curve['points']): Curve['points'] {
  const run = Math.ceil(points.length / maxPoints);
  if (run <= 1) return points;
  return Array.from({ length: Math.ceil(points.length / run) }, (_, n) => {
    const part = points.slice(n * run, (n + 1) * run);
    return { step: part[Math.floor(part.length / 2)].step, value: part.reduce((sum, { value }) => sum + value, 0) / part.length };
  });
}

function gridLine(y: number, label: string): Html {
  return html`<line class="grid" x1="${plot.left}" x2="${plot.right}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}"/>
<text x="${plot.left - 8}" y="${(y + 4).toFixed(1)}" text-anchor="end">${label}</text>`;
}

/** A number over the steps of training, with its last value written out. */
export function lineChart({ name, unit, scale, points: all }: Curve): Html {
  const points = thinned(all.filter(({ value }) => Number.isFinite(value) && (scale === 'linear' || value > 0)));
  const last = all.at(-1);
  if (points.length === 0 || !last) return html`<figure class="chart"><figcaption>${name}</figcaption><p class="quiet">no values</p></figure>`;
  const values = points.map(({ value }) => value);
  const extent = { low: Math.min(...values), high: Math.max(...values) };
  const log = scale === 'log' && extent.low < extent.high;
  // A flat curve still needs an axis around it; one that is not far from 0 shows 0.
  const flat = extent.low === extent.high;
  const nearZero = extent.low >= 0 && extent.low < extent.high / 2;
  const low = log ? extent.low : flat ? Math.min(0, 2 * extent.low) : nearZero ? 0 : extent.low;
  const high = flat ? Math.max(1, extent.high * 1.25) : extent.high;
  const along = (value: number): number => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  const y = (value: number): number => plot.bottom - along(value) * (plot.bottom - plot.top);
  const steps = { first: points[0].step, last: Math.max(points[points.length - 1].step, points[0].step + 1) };
  const x = (step: number): number => plot.left + ((step - steps.first) / (steps.last - steps.first)) * (plot.right - plot.left);
  const path = points.map(({ step, value }, n) => `${n === 0 ? 'M' : 'L'}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join('');
  const marks = log ? logTicks(low, high) : ticks(low, high, 4);
  const stepMarks = ticks(steps.first, steps.last, 4);
  const spacing = (all: number[]): number => (all.length > 1 ? all[1] - all[0] : 1);
  const description = `${name} (${unit}) over ${counted(last.step, 'step')} of training; it ends at ${significant(last.value)}`;
  return html`<figure class="chart">
<figcaption><b>${name}</b> <span class="last">${significant(last.value)}</span> <span class="quiet">${unit}${log && ', logarithmic'}</span></figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${description}">
${marks.map((mark) => gridLine(y(mark), tickLabel(mark, log ? mark : spacing(marks))))}
${stepMarks.map((mark) => html`<text x="${x(mark).toFixed(1)}" y="${plot.bottom + 18}" text-anchor="middle">${tickLabel(mark, spacing(stepMarks))}</text>`)}
<text class="unit" x="${plot.right}" y="${height - 4}" text-anchor="end">step</text>
<line class="axis" x1="${plot.left}" x2="${plot.right}" y1="${plot.bottom}" y2="${plot.bottom}"/>
<path class="line" d="${path}"/></svg></figure>`;
}

/** How many latents fire how often, on a logarithmic axis. */
export function densityChart({ edges, counts, silent }: ReportData['density'], dSae: number): Html {
  const most = Math.max(1, ...counts);
  const [first, last] = [edges[0], edges[edges.length - 1]];
  const x = (log: number): number => plot.left + ((log - first) / (last - first)) * (plot.right - plot.left);
  const y = (count: number): number => plot.bottom - (count / most) * (plot.bottom - plot.top);
  const marks = ticks(0, most, 4).filter(Number.isInteger);
  const decades = Array.from({ length: last - Math.ceil(first) + 1 }, (_, n) => Math.ceil(first) + n);
  const share = (log: number): string => `${tickLabel(10 ** (log + 2), 10 ** (log + 2))}\u202f%`;
  const between = (n: number): string => `${significant(10 ** (edges[n] + 2), 2)} to ${significant(10 ** (edges[n + 1] + 2), 2)}\u202f%`;
  const bar = (n: number, count: number): Html => {
    const [left, right, top] = [x(edges[n]) + gap / 2, x(edges[n + 1]) - gap / 2, y(count)];
    return html`<rect class="bar" x="${left.toFixed(2)}" y="${top.toFixed(2)}" width="${(right - left).toFixed(2)}" height="${(plot.bottom - top).toFixed(2)}">
<title>${whole(count)} latents fire in ${between(n)} of the frames</title></rect>`;
  };
  const description = `Histogram of the firing density of ${whole(dSae)} latents; ${whole(silent)} of them never fire`;
  return html`<figure class="chart">
<figcaption><b>firing density</b> <span class="last">${whole(silent)} never fire</span> <span class="quiet">latents, on held-out frames</span></figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${description}">
${marks.map((mark) => gridLine(y(mark), whole(mark)))}
${counts.map((count, n) => count > 0 && bar(n, count))}
${decades.map((log) => html`<line class="axis" x1="${x(log).toFixed(1)}" x2="${x(log).toFixed(1)}" y1="${plot.bottom}" y2="${plot.bottom + 4}"/>
<text x="${x(log).toFixed(1)}" y="${plot.bottom + 18}" text-anchor="${log === last ? 'end' : 'middle'}">${share(log)}</text>`)}
<text class="unit" x="${plot.right}" y="${height - 4}" text-anchor="end">share of frames in which they fire</text>
<line class="axis" x1="${plot.left}" x2="${plot.right}" y1="${plot.bottom}" y2="${plot.bottom}"/></svg></figure>`;
}
