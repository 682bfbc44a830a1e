/** The roofline as a picture (Williams, Waterman and Patterson 2009): what kernels reach, under what the adapter allows. */
import type { GpuProfile, KernelRow } from './types.ts';

const width = 960, height = 620;
const plot = { left: 84, right: 930, top: 86, bottom: 546 };
const letter = 7.3; // width of a character of the labels, in wide fonts
const lineHeight = 15;

const style = `
  svg { --paper: #fcfcfa; --ink: #1d1d1b; --quiet: #66645f; --rule: #dedbd4; --accent: #00648c; --other: #a3541c; }
  @media (prefers-color-scheme: dark) { svg { --paper: #141518; --ink: #e9e7e2; --quiet: #a09d96; --rule: #34363b; --accent: #63c1e8; --other: #e59a63; } }
  text { font: 12px system-ui, sans-serif; fill: var(--quiet); font-variant-numeric: tabular-nums; }
  .title { font-size: 17px; font-weight: 600; fill: var(--ink); }
  .label { fill: var(--ink); }
  .paper { fill: var(--paper); }
  .grid { stroke: var(--rule); stroke-width: 1; }
  .roof { stroke: var(--ink); stroke-width: 2; fill: none; }
  .guide { stroke: var(--quiet); stroke-width: 0.75; }
  .compute { fill: var(--accent); } .bandwidth { fill: var(--other); } .launch { fill: var(--quiet); }
  .compute, .bandwidth, .launch { fill-opacity: 0.85; stroke: var(--paper); stroke-width: 1.5; }`;

const escaped = (text: string): string => text.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign]!);

interface Dot {
  row: KernelRow;
  x: number;
  y: number;
  radius: number;
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

interface Label {
  text: string;
  left: number;
  baseline: number;
  dot: Dot;
}

/** Powers of ten around numbers. */
function decades(values: readonly number[]): { low: number; high: number } {
  return { low: Math.floor(Math.log10(Math.min(...values))), high: Math.ceil(Math.log10(Math.max(...values))) };
}

function power(exponent: number): string {
  if (exponent >= -2 && exponent <= 4) return (10 ** exponent).toLocaleString('en-US', { maximumFractionDigits: 2 });
  return `1e${exponent}`;
}

/**
 * One SVG file, which follows light and dark. A dot is a kernel: FLOPs per byte of the least traffic against the FLOP/s it reached, its area the share
 * of the kernels' time. Kernels that do integers alone have no place here and are named below the plot.
 */
export function roofline({ kernels, peaks, adapter, runtime, configuration }: GpuProfile): string {
  const drawn = kernels.filter(({ flops, intensity, gflops }) => flops && intensity && gflops);
  const others = kernels.filter((row) => !drawn.includes(row));
  const ridge = peaks.gflops / peaks.gigabytes;
  const along = decades([ridge, ...drawn.map(({ intensity }) => intensity!)].flatMap((value) => [value / 2, value * 2]));
  const up = decades([peaks.gflops * 1.5, ...drawn.map(({ gflops }) => gflops! / 1.5)]);
  const x = (intensity: number): number => plot.left + ((Math.log10(intensity) - along.low) / (along.high - along.low)) * (plot.right - plot.left);
  const y = (rate: number): number => plot.bottom - ((Math.log10(rate) - up.low) / (up.high - up.low)) * (plot.bottom - plot.top);
  const range = ({ low, high }: { low: number; high: number }): number[] => Array.from({ length: high - low + 1 }, (_, n) => low + n);

  const dots = drawn.map((row): Dot => ({ row, x: x(row.intensity!), y: y(Math.max(row.gflops!, 10 ** up.low)), radius: 4 + 16 * Math.sqrt(row.share) }));
  // The slope, from the left edge or from the bottom, whichever it meets first.
  const from = Math.max(10 ** along.low, 10 ** up.low / peaks.gigabytes);
  const roof = `M${x(from).toFixed(1)} ${y(from * peaks.gigabytes).toFixed(1)}L${x(ridge).toFixed(1)} ${y(peaks.gflops).toFixed(1)}L${plot.right} ${y(peaks.gflops).toFixed(1)}`;
  const angle = (Math.atan2(y(peaks.gigabytes * ridge) - y(from * peaks.gigabytes), x(ridge) - x(from)) * 180) / Math.PI;
  const named = from ** 0.8 * ridge ** 0.2; // where the slope has its name, away from most kernels
  const slope = { x: x(named), y: y(named * peaks.gigabytes) - 8 };
  const labels = placed(dots, [{ left: slope.x - 45, right: slope.x + 45, top: slope.y - 30, bottom: slope.y + 25 }]);
  const subject = Object.entries(configuration).filter(([name]) => name !== 'compatibility' && name !== 'frames').map(([name, value]) => `${name} ${value}`).join(', ');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(`Roofline of ${subject}`)}">
<style>${style}
</style>
<rect class="paper" width="${width}" height="${height}"/>
<text class="title" x="${plot.left}" y="32">${escaped(subject)}</text>
<text x="${plot.left}" y="54">${escaped(`${adapter.description || adapter.device}, ${runtime}`)}</text>
<circle class="compute" cx="${plot.left + 6}" cy="69" r="5"/><text x="${plot.left + 16}" y="73">bound by arithmetic</text>
<circle class="bandwidth" cx="${plot.left + 146}" cy="69" r="5"/><text x="${plot.left + 156}" y="73">by memory</text>
<circle class="launch" cx="${plot.left + 236}" cy="69" r="5"/><text x="${plot.left + 246}" y="73">by launches; area: share of the time</text>
${range(along).map((exponent) => `<line class="grid" x1="${x(10 ** exponent).toFixed(1)}" x2="${x(10 ** exponent).toFixed(1)}" y1="${plot.top}" y2="${plot.bottom}"/>
<text x="${x(10 ** exponent).toFixed(1)}" y="${plot.bottom + 18}" text-anchor="middle">${power(exponent)}</text>`).join('\n')}
${range(up).map((exponent) => `<line class="grid" x1="${plot.left}" x2="${plot.right}" y1="${y(10 ** exponent).toFixed(1)}" y2="${y(10 ** exponent).toFixed(1)}"/>
<text x="${plot.left - 8}" y="${(y(10 ** exponent) + 4).toFixed(1)}" text-anchor="end">${power(exponent)}</text>`).join('\n')}
<text x="${plot.right}" y="${plot.bottom + 38}" text-anchor="end">FLOPs per byte</text>
<text x="${plot.left - 60}" y="${plot.top - 10}">GFLOP/s</text>
<path class="roof" d="${roof}"/>
<text x="${plot.right - 4}" y="${(y(peaks.gflops) - 8).toFixed(1)}" text-anchor="end">${peaks.gflops.toPrecision(3)} GFLOP/s</text>
<text transform="translate(${slope.x.toFixed(1)} ${slope.y.toFixed(1)}) rotate(${angle.toFixed(1)})" text-anchor="middle">${peaks.gigabytes.toPrecision(3)} GB/s</text>
${dots.map(({ row, x: cx, y: cy, radius }) => `<circle class="${row.bound ?? 'launch'}" cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="${radius.toFixed(1)}"><title>${escaped(`${row.kernel} ${row.variant}: ${row.gflops!.toPrecision(3)} GFLOP/s, ${row.time.median.toPrecision(3)} ms a step`)}</title></circle>`).join('\n')}
${labels.map(({ text, left, baseline, dot }) => {
    const far = Math.abs(baseline - 4 - dot.y) > dot.radius;
    const behind = left > dot.x, near = behind ? left : left + text.length * letter;
    const guide = far ? `<line class="guide" x1="${dot.x.toFixed(1)}" y1="${dot.y.toFixed(1)}" x2="${(near + (behind ? -3 : 3)).toFixed(1)}" y2="${(baseline - 4).toFixed(1)}"/>` : '';
    return `${guide}<text class="label" x="${near.toFixed(1)}" y="${baseline.toFixed(1)}"${behind ? '' : ' text-anchor="end"'}>${escaped(text)}</text>`;
  }).join('\n')}
${others.length > 0 ? `<text x="${plot.left}" y="${height - 14}">${escaped(`without floating point: ${shortened([...new Set(others.map(({ kernel }) => kernel))].join(', '), 120)}`)}</text>` : ''}
</svg>
`;
}

function shortened(text: string, longest: number): string {
  return text.length <= longest ? text : `${text.slice(0, longest - 4).replace(/,[^,]*$/, '')} ...`;
}

/** Labels that lie on no dot, on no other label and on nothing else that is taken: the largest dots choose first, nearest places first. */
function placed(dots: readonly Dot[], taken: readonly Box[]): Label[] {
  const labels: Label[] = [];
  const boxes: Box[] = [...taken, ...dots.map(({ x, y, radius }) => ({ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius }))];
  for (const dot of [...dots].sort((a, b) => b.radius - a.radius)) {
    const text = dot.row.kernel, wide = text.length * letter;
    const places = Array.from({ length: 24 }, (_, n) => Math.ceil(n / 2) * (n % 2 === 0 ? 1 : -1) * (lineHeight - 2))
      .flatMap((shift) => [dot.x + dot.radius + 5 + Math.abs(shift) * 0.4, dot.x - dot.radius - 5 - wide - Math.abs(shift) * 0.4].map((left) => ({ left, baseline: dot.y + 4 + shift })));
    const box = ({ left, baseline }: { left: number; baseline: number }): Box => ({ left, right: left + wide, top: baseline - 11, bottom: baseline + 3 });
    const fits = (place: { left: number; baseline: number }): boolean => {
      const own = box(place);
      return own.left >= plot.left && own.right <= plot.right && own.top >= plot.top && own.bottom <= plot.bottom
        && boxes.every((other) => own.right < other.left || own.left > other.right || own.bottom < other.top || own.top > other.bottom);
    };
    const place = places.find(fits);
    if (!place) continue; // its dot still has a title
    labels.push({ text, dot, ...place });
    boxes.push(box(place));
  }
  return labels;
}
