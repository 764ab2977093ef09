/** One WGSL kernel: its text, and what binds its parameters and buffers. Kernels of equal names have equal texts. */

/** A field of the uniform struct `p`; whole numbers where nothing else is said. */
export type ParameterType = 'u32' | 'i32' | 'f32';

export interface Kernel {
  readonly name: string;
  readonly code: string;
  readonly parameters: Readonly<Record<string, ParameterType>>;
  /** Of each storage buffer, in the order in which a dispatch names them. */
  readonly access: readonly ('read' | 'read_write')[];
}

export interface KernelSpec {
  readonly name: string;
  /** Features of the language that are to be enabled. */
  readonly enables?: readonly string[];
  readonly parameters: Readonly<Record<string, ParameterType>>;
  /** WGSL types by variable name; a leading `rw ` makes a buffer writable. */
  readonly buffers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Bytes of a dispatch's uniform: what every device accepts as alignment of a dynamic offset. */
export const PARAMETER_BYTES = 256;

/**
 * Compilers may contract a product and a sum into one rounding. `exact(a * b) + c` keeps two: the product passes through
 * an integer that no compiler knows to be unchanged, since `p.none` is 0 only at run time.
 */
const EXACT = `
fn exact(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ p.none); }
fn exact4(x: vec4<f32>) -> vec4<f32> { return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ vec4<u32>(p.none)); }
`;

export function defineKernel({ name, enables = [], parameters, buffers, body }: KernelSpec): Kernel {
  const fields = { ...parameters, none: 'u32' as const };
  const declared = Object.entries(buffers).map(([variable, type], i) => {
    const writable = type.startsWith('rw ');
    const access = writable ? 'read_write' : 'read';
    return {
      access,
      line: `@group(1) @binding(${i}) var<storage, ${access}> ${variable}: ${type.replace('rw ', '')};`,
    };
  });
  const code = [
    ...enables.map((feature) => `enable ${feature};`),
    `struct Parameters { ${Object.entries(fields)
      .map(([field, type]) => `${field}: ${type},`)
      .join(' ')} }`,
    '@group(0) @binding(0) var<uniform> p: Parameters;',
    ...declared.map(({ line }) => line),
    EXACT,
    body,
  ].join('\n');
  return { name, code, parameters: fields, access: declared.map(({ access }) => access as 'read' | 'read_write') };
}

/** Names of the kernels of one family differ in what they were made for. */
export const kernelName = (family: string, options: Readonly<Record<string, unknown>>) =>
  `${family} ${Object.entries(options)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')}`;

/** Makes each kernel of a family once: texts are long, and a network asks for the same few in every layer. */
export function kernelFamily<Options extends object>(
  define: (options: Options) => Kernel,
): (options: Options) => Kernel {
  const made = new Map<string, Kernel>();
  return (options) => {
    const key = JSON.stringify(options);
    const known = made.get(key) ?? define(options);
    made.set(key, known);
    return known;
  };
}
