/** As much reading of WGSL as the walls need: see walls.test.ts. */

export interface WgslFunction {
  name: string;
  /** From `fn` to its closing brace. */
  text: string;
}

/** Blanks out comments; every other character stays where it is. */
export function withoutComments(text: string): string {
  return text.replace(/\/\/[^\n]*|\/\*[^]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '));
}

function closing(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '{') depth++;
    if (text[i] === '}' && --depth === 0) return i;
  }
  throw new Error('a brace is not closed');
}

export function functionsOf(text: string): WgslFunction[] {
  return [...withoutComments(text).matchAll(/\bfn\s+(\w+)/g)].map((match) => {
    const open = text.indexOf('{', match.index);
    return { name: match[1]!, text: text.slice(match.index, closing(withoutComments(text), open) + 1) };
  });
}

/** Variables of functions that are declared without a value: on Vulkan they keep the last round's in a loop. */
export function uninitialised(text: string): string[] {
  return functionsOf(withoutComments(text)).flatMap(({ name, text: body }) => (
    [...body.matchAll(/\bvar\s*(?:<[^>]*>)?\s*(\w+)\s*:[^=;]*;/g)].map((match) => `${match[1]} in ${name}`)
  ));
}

/** An integer expression of literals and module constants. */
function evaluate(expression: string, constants: ReadonlyMap<string, string>): number {
  const tokens = expression.match(/0x[0-9a-fA-F]+|\w+|<<|>>|[^\s\w]/g) ?? [];
  let at = 0;
  const primary = (): number => {
    const token = tokens[at++];
    if (token === '(') {
      const value = sum();
      if (tokens[at++] !== ')') throw new Error(`unbalanced: ${expression}`);
      return value;
    }
    if (token !== undefined && /^\d/.test(token)) return Number(token.replace(/[ui]$/, ''));
    if (token !== undefined && constants.has(token)) return evaluate(constants.get(token)!, constants);
    throw new Error(`cannot evaluate ${token} in ${expression}`);
  };
  const chain = (next: () => number, operators: Record<string, (a: number, b: number) => number>) => (): number => {
    let value = next();
    for (let apply = operators[tokens[at]!]; apply !== undefined; apply = operators[tokens[at]!]) {
      at++;
      value = apply(value, next());
    }
    return value;
  };
  const product = chain(primary, { '*': (a, b) => a * b, '/': (a, b) => Math.trunc(a / b), '%': (a, b) => a % b });
  const sum = chain(product, { '+': (a, b) => a + b, '-': (a, b) => a - b, '<<': (a, b) => a << b, '>>': (a, b) => a >> b });
  const value = sum();
  if (at !== tokens.length) throw new Error(`cannot evaluate ${expression}`);
  return value;
}

interface Layout {
  size: number;
  align: number;
}

const roundUp = (size: number, align: number): number => Math.ceil(size / align) * align;

/** Size and alignment of a type (WGSL specification, section 14.4.1). */
function layoutOf(type: string, text: string, constants: ReadonlyMap<string, string>): Layout {
  const plain = type.replace(/\s/g, '');
  if (/^(u32|i32|f32|bool|atomic<[ui]32>)$/.test(plain)) return { size: 4, align: 4 };
  const vector = /^vec([234])(?:[uif]|<[uif]32>)$/.exec(plain);
  if (vector) return { size: 4 * Number(vector[1]), align: vector[1] === '2' ? 8 : 16 };
  const matrix = /^mat([234])x([234])(?:f|<f32>)$/.exec(plain);
  if (matrix) {
    const align = matrix[2] === '2' ? 8 : 16;
    return { size: Number(matrix[1]) * align, align };
  }
  const array = /^array<(.*),([^,]*)>$/.exec(plain);
  if (array) {
    const element = layoutOf(array[1]!, text, constants);
    return { size: roundUp(element.size, element.align) * evaluate(array[2]!, constants), align: element.align };
  }
  const alias = new RegExp(`\\balias\\s+${plain}\\s*=\\s*([^;]+);`).exec(text);
  if (alias) return layoutOf(alias[1]!, text, constants);
  const struct = new RegExp(`\\bstruct\\s+${plain}\\s*\\{([^}]*)\\}`).exec(text);
  if (!struct) throw new Error(`unknown type ${type}`);
  let size = 0;
  let align = 1;
  for (const [, member] of struct[1]!.matchAll(/\w+\s*:\s*((?:[^,<]|<[^>]*>)+)/g)) {
    const inner = layoutOf(member!, text, constants);
    size = roundUp(size, inner.align) + inner.size;
    align = Math.max(align, inner.align);
  }
  return { size: roundUp(size, align), align };
}

/** What a shader takes of an adapter's limits, with some of its constants replaced. */
export function resourcesOf(source: string, replaced: Record<string, number> = {}): { workgroupBytes: number; invocations: number; storageBuffers: number } {
  const text = withoutComments(source);
  const constants = new Map([...text.matchAll(/^const\s+(\w+)\s*(?::\s*\w+\s*)?=\s*([^;]+);/gm)].map((match) => [match[1]!, match[2]!]));
  for (const [name, value] of Object.entries(replaced)) constants.set(name, String(value));
  let workgroupBytes = 0;
  for (const [, type] of text.matchAll(/var<workgroup>\s*\w+\s*:\s*([^;]+);/g)) workgroupBytes += roundUp(layoutOf(type!, text, constants).size, 16);
  const invocations = [...text.matchAll(/@workgroup_size\(([^)]*(?:\([^)]*\)[^)]*)*)\)/g)].map(([, sizes]) => (
    sizes!.split(',').filter((size) => size.trim() !== '').reduce((count, size) => count * evaluate(size, constants), 1)
  ));
  return { workgroupBytes, invocations: Math.max(...invocations), storageBuffers: [...text.matchAll(/var<storage/g)].length };
}
