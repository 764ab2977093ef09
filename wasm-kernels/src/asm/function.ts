/** Functions, control flow and modules over the instructions of `ops.ts`. */
import { type Bytes, nameBytes, section, unsignedLeb, vector } from './encode.ts';
import { type Expr, i32, type Statement, type ValueType } from './ops.ts';

const TYPE_CODE = { i32: 0x7f, f32: 0x7d, v128: 0x7b } as const;

/** A local variable: reading it is an expression, setting it is a statement. */
export class Local<T extends ValueType> implements Expr<T> {
  readonly type: T;
  readonly code: Bytes;
  readonly #index: number;

  constructor(type: T, index: number) {
    this.type = type;
    this.#index = index;
    this.code = [0x20, ...unsignedLeb(index)];
  }

  set(value: Expr<T>): Statement {
    return [...value.code, 0x21, ...unsignedLeb(this.#index)];
  }
}

export interface NewLocal {
  <T extends ValueType>(type: T): Local<T>;
  /**
   * A local that holds a constant from the start of the function. V8 makes a splat of a constant anew, by three
   * instructions, wherever a loop uses it; a local stays in its register or is read back from the stack.
   */
  constant<T extends ValueType>(value: Expr<T>): Local<T>;
}

/** Runs `body`, and again while `condition`, evaluated after it, is not 0. */
export function doWhile(body: readonly Statement[], condition: Expr<'i32'>): Statement {
  return [0x03, 0x40, ...body.flat(), ...condition.code, 0x0d, 0x00, 0x0b];
}

/** Runs `body` `times` times, at least once; `times` is 0 then. */
export function repeat(times: Local<'i32'>, body: readonly Statement[]): Statement {
  return doWhile(body, { type: 'i32', code: [...times.set(i32.sub(times, i32.const(1))), ...times.code] });
}

export function when(
  condition: Expr<'i32'>,
  then: readonly Statement[],
  otherwise: readonly Statement[] = [],
): Statement {
  const alternative = otherwise.length === 0 ? [] : [0x05, ...otherwise.flat()];
  return [...condition.code, 0x04, 0x40, ...then.flat(), ...alternative, 0x0b];
}

/** `for (index = 0; index < limit; index += step) body`. */
export function count(index: Local<'i32'>, limit: Expr<'i32'>, step: number, body: readonly Statement[]): Statement {
  return [
    ...index.set(i32.const(0)),
    ...when(i32.gt_s(limit, i32.const(0)), [
      doWhile([...body, index.set(i32.add(index, i32.const(step)))], i32.lt_s(index, limit)),
    ]),
  ];
}

/** Calls a function that the module imports, by its place among `ModuleOptions.imports`. */
export function callImport(index: number, args: readonly Expr<ValueType>[]): Statement {
  return [...args.flatMap(({ code }) => code), 0x10, ...unsignedLeb(index)];
}

export interface WasmFunction {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly locals: readonly ValueType[];
  readonly body: Statement;
}

type Parameters<P extends readonly ValueType[]> = { [K in keyof P]: Local<P[K]> };

/** A function without a result. `build` gets its parameters and an allocator of locals. */
export function defineFunction<const P extends readonly ValueType[]>(
  name: string,
  params: P,
  build: (params: Parameters<P>, local: NewLocal) => readonly Statement[],
): WasmFunction {
  const locals: ValueType[] = [];
  const constants = new Map<string, Local<ValueType>>();
  const prologue: Statement[] = [];
  const newLocal = <T extends ValueType>(type: T) => new Local(type, params.length + locals.push(type) - 1);
  const constant = <T extends ValueType>(value: Expr<T>) => {
    const key = value.code.join();
    const held = (constants.get(key) as Local<T> | undefined) ?? newLocal(value.type);
    if (!constants.has(key)) prologue.push(held.set(value));
    constants.set(key, held);
    return held;
  };
  const parameters = params.map((type, index) => new Local(type, index)) as unknown as Parameters<P>;
  const statements = build(parameters, Object.assign(newLocal, { constant }));
  return { name, params, locals, body: [...prologue, ...statements].flat() };
}

function functionBody({ locals, body }: WasmFunction): Bytes {
  const runs: { type: ValueType; length: number }[] = [];
  for (const type of locals) {
    const last = runs.at(-1);
    if (last?.type === type) last.length++;
    else runs.push({ type, length: 1 });
  }
  const declared = vector(runs.map(({ type, length }) => [...unsignedLeb(length), TYPE_CODE[type]]));
  const code = [...declared, ...body, 0x0b];
  return [...unsignedLeb(code.length), ...code];
}

export interface ModuleOptions {
  /** The memory is one that threads share: it has a maximum then, of all that a memory may have. */
  readonly shared?: boolean;
  /** Functions of other modules over the same memory, imported as `env.<name>`. */
  readonly imports?: readonly WasmFunction[];
  /** Names the functions for profilers. Default true. */
  readonly names?: boolean;
}

const LIMITS = [0, 1];
const SHARED_LIMITS = [3, 1, ...unsignedLeb(65536)];

/** A module over one imported memory, `env.memory`, that exports every function. */
export function assembleModule(
  functions: readonly WasmFunction[],
  { shared = false, imports = [], names = true }: ModuleOptions = {},
): Uint8Array<ArrayBuffer> {
  const types = [...imports, ...functions].map(({ params }) => {
    return [0x60, ...vector(params.map((type) => [TYPE_CODE[type]])), 0];
  });
  const indexOf = (place: number) => unsignedLeb(imports.length + place);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(types)),
    ...section(
      2,
      vector([
        [...nameBytes('env'), ...nameBytes('memory'), 2, ...(shared ? SHARED_LIMITS : LIMITS)],
        ...imports.map(({ name }, type) => [...nameBytes('env'), ...nameBytes(name), 0, ...unsignedLeb(type)]),
      ]),
    ),
    ...section(3, vector(functions.map((_, place) => indexOf(place)))),
    ...section(7, vector(functions.map(({ name }, place) => [...nameBytes(name), 0, ...indexOf(place)]))),
    ...section(10, vector(functions.map(functionBody))),
    ...(names ? nameSection(functions, indexOf) : []),
  ]);
}

function nameSection(functions: readonly WasmFunction[], indexOf: (place: number) => Bytes): Bytes {
  const named = functions.map(({ name }, place) => [...indexOf(place), ...nameBytes(name)]);
  return section(0, [...nameBytes('name'), ...section(1, vector(named))]);
}
