/** HTML as a type of its own: whatever is put into a template is escaped unless it came out of one. */
export class Html {
  readonly text: string;
  // A private field cannot be forged by parsed JSON, whatever its shape.
  readonly #made = true;

  /** Of text that is HTML already: only for what this room itself wrote. */
  constructor(text: string) {
    this.text = text;
  }

  static is(value: unknown): value is Html {
    return typeof value === 'object' && value !== null && #made in value;
  }
}

export type Piece = Html | string | number | null | undefined | false | readonly Piece[];

const replacements: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function textOf(piece: Piece): string {
  if (Html.is(piece)) return piece.text;
  if (Array.isArray(piece)) return piece.map(textOf).join('');
  if (piece === null || piece === undefined || piece === false) return '';
  return String(piece).replace(/[&<>"']/g, (character) => replacements[character]);
}

/** A template of HTML; its values are escaped for text and for quoted attributes. Lists are joined, nothing is nothing. */
export function html(strings: TemplateStringsArray, ...values: Piece[]): Html {
  return new Html(strings.reduce((text, string, n) => text + textOf(values[n - 1]) + string));
}

/** A value as the content of a script element: JSON in which no tag can begin or end. */
export function json(value: unknown): Html {
  return new Html(JSON.stringify(value).replace(/</g, '\\u003c'));
}

/** A name that somebody else chose, kept from turning the text around it when it holds right-to-left marks. */
export function name(text: string): Html {
  return html`<bdi>${text}</bdi>`;
}
