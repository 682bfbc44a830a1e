/** What every page is: one file that needs nothing else and asks nobody for anything. */
import { Html, html, json, type Piece } from './html.ts';
import { soundUri } from './media.ts';
import type { ReportSound } from './types.ts';

/** Nothing may be fetched from anywhere: what a label smuggled in could not call home either. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; media-src data:";

export interface PageParts {
  title: string;
  style: string;
  body: Piece;
  sounds: readonly ReportSound[];
  /** What else the script reads, by the id of the element that holds it. */
  data?: { id: string; value: unknown };
  script: string;
}

/** `style` and `script` are this room's own text; all else is escaped. */
export function pageOf({ title, style, body, sounds, data, script }: PageParts): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="cochlea">
<title>${title}</title>
<style>${new Html(style)}</style>
</head>
<body>
${body}
<script type="application/json" id="sounds">${json(sounds.map(soundUri))}</script>
${data && html`<script type="application/json" id="${data.id}">${json(data.value)}</script>\n`}<script>${new Html(script)}</script>
</body>
</html>
`.text;
}

export function section(id: string, heading: Piece, ...content: Piece[]): Html {
  return html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${heading}</h2>${content}</section>`;
}

export function note(text: Piece): Html {
  return html`<p class="note">${text}</p>`;
}
