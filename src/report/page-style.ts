/** The page's style sheet, as text because the page carries it inside. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --paper: #fcfcfa; --ink: #1d1d1b; --quiet: #66645f; --rule: #dedbd4; --faint: #f1efe9;
  --accent: #00648c; --accent-fill: #00648c33; --on-accent: #ffffff; --black: #0b0713;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #141518; --ink: #e9e7e2; --quiet: #a09d96; --rule: #34363b; --faint: #1e2024;
    --accent: #63c1e8; --accent-fill: #63c1e840; --on-accent: #10181c;
  }
}
@media print {
  :root {
    color-scheme: light;
    --paper: #ffffff; --ink: #000000; --quiet: #555555; --rule: #cccccc; --faint: #f4f4f4;
    --accent: #00648c; --accent-fill: #00648c33; --on-accent: #ffffff;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body {
  margin: 0 auto; max-width: 76rem; padding: 3.5rem 2rem 5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}
h1, h2, h3, h4, p, dl, dd, figure { margin: 0; }
h1 { font-size: 2.1rem; line-height: 1.2; font-weight: 600; letter-spacing: -0.015em; max-width: 40ch; text-wrap: balance; }
h2 { font-size: 1.3rem; font-weight: 600; letter-spacing: -0.01em; margin-bottom: 0.4rem; }
h3 { font-size: 1rem; font-weight: 600; }
h4 { font-size: 0.85rem; font-weight: 400; color: var(--quiet); margin: 1.1rem 0 0.5rem; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 0.18em; }
small { display: block; font-size: 0.78rem; color: var(--quiet); }
section { margin-top: 4rem; }
.over-title { color: var(--quiet); font-size: 0.9rem; margin-bottom: 0.6rem; }
.lead { font-size: 1.1rem; max-width: 65ch; margin-top: 0.8rem; }
.note { color: var(--quiet); max-width: 72ch; margin-bottom: 1.2rem; }
.quiet { color: var(--quiet); }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1.5rem; margin-top: 1.3rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 2px; }

.headline { display: flex; flex-wrap: wrap; gap: 1.2rem 3.5rem; margin-top: 2.6rem; }
.headline dt { color: var(--quiet); font-size: 0.85rem; }
.headline dd { font-size: 1.9rem; line-height: 1.25; font-weight: 500; letter-spacing: -0.02em; }
.headline dd small { letter-spacing: 0; font-weight: 400; }

.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1.8rem 2.5rem; margin-top: 1rem; }
.facts h3 { font-size: 0.85rem; padding-bottom: 0.35rem; border-bottom: 1px solid var(--rule); margin-bottom: 0.4rem; }
.facts dl { font-size: 0.92rem; }
.facts dl div { display: grid; grid-template-columns: 6.5rem 1fr; gap: 0.6rem; padding: 0.1rem 0; }
.facts dt { color: var(--quiet); }
bdi, .facts dt, .facts dd, .chart figcaption > * { overflow-wrap: anywhere; } /* a name without blanks makes no box wider than its place */
.facts .wide { grid-column: 1 / -1; }

table { border-collapse: collapse; font-size: 0.92rem; }
th, td {
  padding: 0.32rem 0 0.32rem 1.6rem; text-align: right; vertical-align: top; font-weight: 400;
  border-bottom: 1px solid var(--rule); white-space: nowrap;
}
th:first-child, .text { text-align: left; }
th:first-child { padding-left: 0; }
thead th { color: var(--quiet); font-size: 0.85rem; vertical-align: bottom; white-space: normal; }
thead th bdi { display: inline-block; max-width: 16rem; overflow-wrap: break-word; }
.scores { min-width: min(46rem, 100%); }
.scores td:nth-child(2) { font-weight: 600; }
.scores td small { font-weight: 400; }
.scores th:first-child { position: relative; }
.term {
  font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: left;
  text-decoration: underline dotted var(--quiet) 1px; text-underline-offset: 0.22em; cursor: help;
}
.tip {
  display: none; position: absolute; left: 0; top: 100%; z-index: 2; width: min(30rem, 82vw); padding: 0.7rem 0.9rem; text-align: left; white-space: normal;
  font-size: 0.88rem; line-height: 1.45; background: var(--paper); border: 1px solid var(--quiet); border-radius: 4px;
}
.term:hover + .tip, .term:focus + .tip, .tip:hover { display: block; }
.index { width: 100%; max-width: 46rem; margin-bottom: 1rem; }
.index .text { white-space: normal; min-width: 4.5rem; }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(17.5rem, 1fr)); gap: 2rem 2.5rem; }
.chart { max-width: 30rem; }
.chart figcaption {
  display: grid; grid-template-columns: 1fr auto; font-size: 0.92rem; line-height: 1.4;
  border-top: 1px solid var(--rule); padding: 0.4rem 0 0.6rem;
}
.chart b { font-weight: 600; }
.chart .last { font-weight: 600; }
.chart svg { display: block; width: 100%; height: auto; overflow: visible; }
.chart text { font-size: 11.5px; fill: var(--quiet); }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis { stroke: var(--quiet); stroke-width: 1; }
.line { fill: none; stroke: var(--accent); stroke-width: 1.75; stroke-linejoin: round; }
.bar { fill: var(--accent); }

.track { position: relative; }
.mel { display: block; width: 100%; background: var(--black); }
.head {
  position: absolute; display: none; top: 0; bottom: 0; left: 0; width: 2px; margin-left: -1px;
  background: var(--ink); box-shadow: 0 0 0 1px var(--paper); pointer-events: none; z-index: 1;
}
.playing .head { display: block; }
[data-sound] .track { cursor: pointer; }
.tier { position: relative; height: 1.35rem; overflow: hidden; font-size: 0.78rem; line-height: 1.35rem; }
.tier span {
  position: absolute; top: 0; bottom: 0; overflow: hidden; text-align: center; white-space: nowrap;
  border-left: 1px solid var(--rule);
}
.tier span:first-child { border-left: 0; }
.play {
  flex: none; display: inline-grid; place-items: center; width: 1.75rem; height: 1.75rem; padding: 0;
  border: 1px solid var(--rule); border-radius: 50%; background: none; color: var(--accent); cursor: pointer;
}
.play:hover { border-color: var(--accent); }
.play svg { width: 0.7rem; height: 0.7rem; fill: currentColor; }
.play .stop, .playing .play .start { display: none; }
.playing .play .stop { display: inline; }
.playing .play { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
.play[disabled] { color: var(--quiet); cursor: not-allowed; }
.clip { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }

.recording figcaption { margin-bottom: 0.9rem; }
.recording figcaption div { display: flex; align-items: center; gap: 0.7rem; }
.recording figcaption p { margin-top: 0.5rem; max-width: 80ch; font-size: 1.1rem; }
.rows { position: relative; display: grid; grid-template-columns: 6rem 1fr; align-items: center; row-gap: 2px; }
.recording .mel { height: 11rem; }
.recording .tier { height: 3rem; font-size: 0.7rem; line-height: 0.95rem; }
.recording .tier span { overflow: visible; padding-left: 2px; text-align: left; }
.recording .tier span:nth-child(3n+2) { padding-top: 0.95rem; }
.recording .tier span:nth-child(3n) { padding-top: 1.9rem; }
.names {
  font-size: 0.85rem; line-height: 1.25rem; padding-right: 0.8rem; text-align: right; overflow: hidden;
  white-space: nowrap; text-overflow: ellipsis;
}
.row { height: 1.25rem; background: var(--faint); }
.heat { display: block; width: 100%; height: 100%; fill: var(--accent); shape-rendering: crispEdges; }
.times { position: relative; height: 1.5rem; font-size: 0.78rem; color: var(--quiet); }
.times span { position: absolute; top: 0.2rem; transform: translateX(-50%); }
.times span:first-child { transform: none; }
.over { position: absolute; inset: 0 0 1.5rem 6rem; pointer-events: none; }

article { margin-top: 2.5rem; padding-top: 1.2rem; border-top: 1px solid var(--rule); }
article header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0.3rem 2rem; }
article h3 { font-size: 1.15rem; }
article .label {
  margin-left: 0.5rem; padding: 0.05rem 0.55rem 0.1rem; border: 1px solid var(--accent); border-radius: 3px;
  color: var(--accent); font-weight: 500;
}
article dl { display: flex; flex-wrap: wrap; gap: 0 1.5rem; font-size: 0.92rem; }
article dl div { display: flex; gap: 0.45rem; }
article dt { color: var(--quiet); }
article > p { font-size: 0.92rem; max-width: 90ch; margin-top: 0.3rem; }
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(15.5rem, 1fr)); gap: 1.3rem 1.2rem; }
.strip .mel { height: 6.5rem; }
.curve { display: block; width: 100%; height: 2.6rem; border-bottom: 1px solid var(--rule); }
.curve path { fill: var(--accent-fill); stroke: var(--accent); stroke-width: 1.25; vector-effect: non-scaling-stroke; }
.peak { position: absolute; top: 0; height: 9.1rem; width: 0; border-left: 1px dashed #ffffffb0; pointer-events: none; }
.peak::before {
  content: ""; position: absolute; top: -0.45rem; left: calc(-0.5px - 0.3rem); border: 0.3rem solid transparent;
  border-top: 0.42rem solid var(--accent); border-bottom: 0;
}
.strip figcaption { display: flex; align-items: center; gap: 0.5rem; font-size: 0.85rem; margin-top: 0.35rem; white-space: nowrap; }
.strip .clip { color: var(--quiet); margin-left: auto; }
footer { margin-top: 5rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--quiet); font-size: 0.9rem; max-width: none; }

@media (max-width: 640px) {
  body { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  section { margin-top: 3rem; }
  .headline { display: grid; grid-template-columns: 1fr 1fr; gap: 1.2rem 1rem; }
  .headline dd { font-size: 1.5rem; }
  th, td { padding-left: 0.8rem; }
  .scores th + th, .scores td { padding-left: 0.3rem; }
  .scroll { overflow-x: auto; margin: 0 -4px; padding: 0 4px; }
  .scores { font-size: 0.85rem; width: 100%; }
  .scores th:first-child, .scores small { white-space: normal; }
  .tip { position: fixed; inset: auto 1rem 1rem; width: auto; }
  .more { display: none; }
  .rows { grid-template-columns: 3.6rem 1fr; }
  .names { font-size: 0.75rem; padding-right: 0.4rem; }
  .over { left: 3.6rem; }
  .recording .tier { display: none; }
  .strips {
    grid-template-columns: none; grid-auto-flow: column; grid-auto-columns: 84%; overflow-x: auto;
    scroll-snap-type: x proximity; padding: 0.5rem 0 0.4rem;
  }
  .strip { scroll-snap-align: start; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav, .play, .head { display: none !important; }
  section { margin-top: 2rem; }
  figure, tr, article header { break-inside: avoid; }
  h2, h3, h4, article header { break-after: avoid; }
  .strips { grid-template-columns: repeat(4, 1fr); grid-auto-flow: row; overflow: visible; }
  a { color: inherit; text-decoration: none; }
}
`;
