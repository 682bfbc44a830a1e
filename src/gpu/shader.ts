/**
 * What the launchers need to know of a shader, read from its own text: the storage and image bindings by name, the
 * fields of its uniform block, and its typed constants, which may be replaced before compiling.
 */
import { CochleaError } from '../errors.ts';

/** A shader's name and text. */
export interface ShaderSource {
  name: string;
  text: string;
}

export interface ShaderBinding {
  name: string;
  binding: number;
  /** A buffer that the shader reads, or writes, or the image of one. */
  kind: 'read' | 'written' | 'image';
}

export interface ShaderField {
  name: string;
  type: 'u32' | 'f32';
}

export interface ShaderLayout {
  bindings: ShaderBinding[];
  fields: ShaderField[];
}

/** Reads the declarations of one shader. The uniform block is `var<uniform> p: Params`, scalars only. */
export function readLayout(shader: ShaderSource): ShaderLayout {
  const bindings: ShaderBinding[] = [];
  const declaration = /@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>\s*(\w+)\s*:/g;
  for (const [, binding, access, name] of shader.text.matchAll(declaration)) {
    bindings.push({ name: name!, binding: Number(binding), kind: access === 'read_write' ? 'written' : 'read' });
  }
  const image = /@group\(0\)\s*@binding\((\d+)\)\s*var\s+(\w+)\s*:\s*texture_storage_2d<rgba32float, read>/g;
  for (const [, binding, name] of shader.text.matchAll(image)) bindings.push({ name: name!, binding: Number(binding), kind: 'image' });
  const block = /struct Params\s*\{([^}]*)\}/.exec(shader.text);
  if (!block) throw new CochleaError('gpu-error', `${shader.name}.wgsl has no struct Params`);
  const fields = block[1]!.split(',').map((part) => part.trim()).filter((part) => part !== '').map((part): ShaderField => {
    const field = /^(\w+)\s*:\s*(u32|f32)$/.exec(part);
    if (!field) throw new CochleaError('gpu-error', `${shader.name}.wgsl: Params holds something other than u32 and f32: ${part}`);
    return { name: field[1]!, type: field[2] as 'u32' | 'f32' };
  });
  return { bindings, fields };
}

/**
 * Replaces `const NAME = 64u;` lines. A constant that the shader does not declare is an error. HALF = 1 also makes float16 of what the shader calls
 * Staged, which takes an `enable` that its text must not have: devices without float16 compile it too.
 */
export function replaceConstants(shader: ShaderSource, constants: Record<string, number>): string {
  let text = shader.text;
  for (const [name, value] of Object.entries(constants)) {
    const line = new RegExp(`^const ${name} = \\d+u;`, 'm');
    if (!line.test(text)) throw new CochleaError('gpu-error', `${shader.name}.wgsl has no constant ${name}`);
    text = text.replace(line, `const ${name} = ${value}u;`);
  }
  return constants['HALF'] === 1 ? `enable f16;\n${text.replace(/^alias Staged = vec4f;/m, 'alias Staged = vec4h;')}` : text;
}

/** Packs one uniform block; every field must be given and nothing else. */
export function packFields(shader: string, fields: readonly ShaderField[], values: Record<string, number>, into: DataView, offset: number): void {
  fields.forEach(({ name, type }, index) => {
    const value = values[name];
    if (value === undefined) throw new CochleaError('gpu-error', `${shader}: parameter ${name} is missing`);
    if (type === 'u32') into.setUint32(offset + index * 4, value, true);
    else into.setFloat32(offset + index * 4, value, true);
  });
  if (Object.keys(values).length !== fields.length) {
    const unknown = Object.keys(values).filter((name) => !fields.some((field) => field.name === name));
    throw new CochleaError('gpu-error', `${shader}: unknown parameter ${unknown.join(', ')}`);
  }
}
