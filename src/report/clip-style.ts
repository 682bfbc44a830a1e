/** What a page on clips adds to the style sheet of pages. */
export const clipStyle = `
.line { display: flex; flex-wrap: wrap; gap: 0.35rem 2.2rem; margin-top: 1.1rem; font-size: 0.92rem; }
.line div { display: flex; flex-wrap: wrap; gap: 0 0.5rem; }
.line dt { color: var(--quiet); }
main > .note { margin: 2rem 0 0; max-width: 90ch; }
main > figure { margin-top: 2rem; }
main > section { margin-top: 2.6rem; padding-top: 1.4rem; border-top: 1px solid var(--rule); }

.clip-figure { --side: 4.6rem; }
.clip-figure figcaption .clip { display: none; }
.board { overflow-x: auto; overflow-y: hidden; padding-bottom: 2px; }
.board .rows { grid-template-columns: var(--side) minmax(0, 1fr) var(--side); min-width: calc(var(--least) + 2 * var(--side)); row-gap: 3px; }
.board .names, .board .value { position: sticky; z-index: 2; background: var(--paper); height: 100%; display: flex; align-items: center; }
.board .names { left: 0; justify-content: flex-end; padding-right: 0.6rem; }
.board .value { right: 0; justify-content: flex-end; font-size: 0.85rem; white-space: nowrap; }
.board .silent { color: var(--quiet); }
.board .bands { flex-direction: column; justify-content: space-between; align-items: flex-end; font-size: 0.78rem; line-height: 1; color: var(--quiet); }
.board .times .end { transform: translateX(-100%); }
.clip-figure .row { height: 1.7rem; }
.clip-figure .curve { height: 100%; border: 0; }
.clip-figure .curve path { stroke-width: 1; }
.clip-figure .curve .negative { fill: none; stroke: var(--ink); stroke-dasharray: 2 2; }
.latent {
  font: inherit; font-size: 0.85rem; line-height: 1.4rem; padding: 0 0.4rem; color: var(--accent); background: none;
  border: 1px solid transparent; border-radius: 3px; cursor: pointer;
}
.latent:hover { border-color: var(--accent); }
.latent[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
.row.chosen { box-shadow: inset 0 0 0 1px var(--accent); }
.value.chosen { font-weight: 600; }
tr.chosen > * { background: var(--faint); }
.spans { position: absolute; inset: 0; overflow: hidden; pointer-events: none; }
.spans i { position: absolute; top: 0; bottom: 0; }
.spans .on { min-width: 2px; border-bottom: 4px solid #ffffff; }
.spans .off { background: #0b07138c; }
.clip-figure .over { inset: 0 var(--side) 1.5rem var(--side); z-index: 1; }
.over:focus-visible { outline-offset: -2px; }
.cursor { position: absolute; display: none; top: 0; bottom: 0; width: 0; border-left: 1px dashed var(--ink); box-shadow: -1px 0 0 var(--paper); }

.numbers { margin-top: 1.2rem; font-size: 0.88rem; }
.numbers th, .numbers td { padding-left: 1.3rem; }
.numbers th:first-child { text-align: right; padding-left: 0; }
.numbers td.text { white-space: normal; color: var(--quiet); }
.hear {
  font: inherit; padding: 0; color: var(--accent); background: none; border: 0; cursor: pointer;
  text-decoration: underline 1px; text-underline-offset: 0.18em;
}
@media (max-width: 640px) {
  .clip-figure { --side: 3.4rem; }
  .board .names { padding-right: 0.2rem; }
  .latent { padding: 0 0.2rem; }
  .clip-figure .mel { height: 8rem; }
}
@media print {
  .latent { border: 0; color: inherit; }
  .board { overflow: visible; }
}
`;
