/** A strict reader of the HTML that reports are made of: every tag closed, every attribute quoted, no stray angle bracket. */

export interface Element {
  tag: string;
  attributes: Map<string, string>;
  /** Of script and style elements. */
  content: string;
}

const empty = new Set(['meta', 'br', 'link', 'img', 'input']);
const rawText = new Set(['script', 'style']);
const entities: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" };

function unescaped(text: string, where: string): string {
  if (/&(?!(amp|lt|gt|quot|#39);)/.test(text) || /[<>]/.test(text)) throw new Error(`unescaped text in ${where}: ${text.slice(0, 80)}`);
  return text.replace(/&[^;]+;/g, (entity) => entities[entity]);
}

/** Elements in order, and all text outside of scripts and styles. Throws where the page is not well-formed. */
export function readMarkup(page: string): { elements: Element[]; text: string } {
  if (!page.startsWith('<!doctype html>')) throw new Error('no doctype');
  const elements: Element[] = [];
  const open: string[] = [];
  let text = '';
  let at = '<!doctype html>'.length;
  while (at < page.length) {
    const next = page.indexOf('<', at);
    text += unescaped(page.slice(at, next < 0 ? page.length : next), open.join(' '));
    if (next < 0) break;
    const closing = /^<\/([a-z0-9]+)>/.exec(page.slice(next, next + 40));
    if (closing) {
      const expected = open.pop();
      if (expected !== closing[1]) throw new Error(`</${closing[1]}> closes <${expected}> at ${page.slice(next - 80, next)}`);
      at = next + closing[0].length;
      continue;
    }
    const start = /<([a-z0-9]+)((?:\s+[a-z][a-z0-9-]*(?:="[^"<]*")?)*)\s*(\/?)>/iy;
    start.lastIndex = next;
    const match = start.exec(page);
    if (!match) throw new Error(`no tag: ${page.slice(next, next + 120)}`);
    const [whole, name, attributeText, slash] = match;
    const tag = name.toLowerCase();
    const attributes = new Map<string, string>();
    for (const [, key, value = ''] of attributeText.matchAll(/([a-z][a-z0-9-]*)(?:="([^"]*)")?/gi)) {
      if (attributes.has(key)) throw new Error(`<${tag}> has ${key} twice`);
      attributes.set(key, unescaped(value.replaceAll('>', '&gt;'), `${tag} ${key}`));
    }
    at = next + whole.length;
    let content = '';
    if (rawText.has(tag)) {
      const end = page.indexOf(`</${tag}`, at);
      if (end < 0) throw new Error(`<${tag}> is not closed`);
      content = page.slice(at, end);
      at = page.indexOf('>', end) + 1;
    } else if (!empty.has(tag) && !slash) open.push(tag);
    elements.push({ tag, attributes, content });
  }
  if (open.length > 0) throw new Error(`not closed: ${open.join(' ')}`);
  return { elements, text };
}
