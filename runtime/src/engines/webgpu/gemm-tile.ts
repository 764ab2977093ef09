/**
 * The loop that every product of matrices has: a workgroup makes a tile of the output, each thread a smaller one in
 * registers, from tiles of both operands in workgroup memory. While one step is multiplied the next is under way from
 * memory. Families say what a step loads, how two values are multiplied, and what becomes of a sum.
 */

export interface TileShape {
  /** Of the output, of a workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Of the output, of a thread: multiples of 4 that divide the workgroup's. */
  readonly threadRows: number;
  readonly threadColumns: number;
  /** Values of a row that a step takes, a multiple of 4. */
  readonly depth: number;
}

/** One operand's part of a step: values by depth in workgroup memory, four rows (or columns) side by side. */
export interface TileOperand {
  /** Loads of all threads in a step, and WGSL that loads number `item` into variables ending in `suffix`. */
  readonly items: number;
  readonly declare: (suffix: string) => string;
  readonly load: (suffix: string, item: string) => string;
  /** Stores them; `at` gives the place of four of one depth, by the depth and their number. */
  readonly store: (suffix: string, item: string, at: TilePlace) => string;
}

/** WGSL of a vec4 in workgroup memory. */
export type TilePlace = (depth: string, four: string) => string;

export interface TileProgram {
  readonly shape: TileShape;
  readonly scalar: 'u32' | 'f32' | 'f16';
  readonly sum: 'i32' | 'f32' | 'f16';
  readonly a: TileOperand;
  readonly b: TileOperand;
  /** sum += a * b */
  readonly multiply: (sum: string, a: string, b: string) => string;
}

export const tileThreads = ({ rows, columns, threadRows, threadColumns }: TileShape) =>
  (rows / threadRows) * (columns / threadColumns);

/** Bytes of workgroup memory that the loop takes: two steps of both operands. */
export const tileBytes = (shape: TileShape, bytesOfValue = 4) =>
  2 * shape.depth * (strideOf(shape.rows) + strideOf(shape.columns)) * 4 * bytesOfValue;

/** In vec4; one more than what is needed, so that equal places of consecutive depths lie in different banks. */
const strideOf = (values: number) => values / 4 + 1;

export const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Of row (or column) `i` of a thread, in the tile: four by four, the threads' fours side by side. */
const place = (i: number, threads: number, thread: string) =>
  `${Math.floor(i / 4) * threads * 4 + (i % 4)}u + ${thread} * 4u`;

export const tileRow = (shape: TileShape, i: number) => place(i, shape.rows / shape.threadRows, 'ty');
export const tileColumn = (shape: TileShape, j: number) => place(j, shape.columns / shape.threadColumns, 'tx');

/**
 * Declarations of workgroup memory. By depth and then by place: hosts hold every index within its array, and of two indices
 * one does not change in the loop and the other is seen to be small, so that nothing of that is left in the loop.
 */
export function tileMemory({ shape, scalar }: TileProgram): string {
  const array = (name: string, values: number) =>
    `var<workgroup> ${name}: array<array<vec4<${scalar}>, ${strideOf(values)}>, ${2 * shape.depth}>;`;
  return [array('tileA', shape.rows), array('tileB', shape.columns)].join('\n');
}

/**
 * WGSL that leaves sum `s<i>_<j>` of each of a thread's rows and columns; it reads `t` (the thread's index) and `steps`, and
 * loads see the depth's first value as `k0`.
 */
export function tileLoop({ shape, sum, a, b, multiply }: TileProgram): string {
  const { rows, columns, threadRows, threadColumns, depth } = shape;
  const threads = tileThreads(shape);
  const each = (operand: TileOperand, name: string, code: (suffix: string, item: string) => string) =>
    range(Math.ceil(operand.items / threads)).map((i) => {
      const item = i === 0 ? 't' : `(t + ${i * threads}u)`;
      const body = code(`${name}${i}`, item);
      return (i + 1) * threads > operand.items ? `if (${item} < ${operand.items}u) { ${body} }` : body;
    });
  const declare = [
    ...range(Math.ceil(a.items / threads)).map((i) => a.declare(`A${i}`)),
    ...range(Math.ceil(b.items / threads)).map((i) => b.declare(`B${i}`)),
  ];
  const load = [...each(a, 'A', a.load), ...each(b, 'B', b.load)];
  const placeIn =
    (memory: string, half: string): TilePlace =>
    (k, four) =>
      `${memory}[${half} * ${depth}u + ${k}][${four}]`;
  const store = (half: string) => [
    ...each(a, 'A', (suffix, item) => a.store(suffix, item, placeIn('tileA', half))),
    ...each(b, 'B', (suffix, item) => b.store(suffix, item, placeIn('tileB', half))),
  ];
  const vectors = (name: string, count: number, per: number, thread: string) =>
    range(count / 4).map((i) => `let ${name}${i} = tile${name.toUpperCase()}[at][${thread} + ${i * per}u];`);
  const part = (name: string, i: number) => `${name}${i >> 2}.${'xyzw'[i & 3]}`;
  const products = range(threadRows).flatMap((i) =>
    range(threadColumns).map((j) => multiply(`s${i}_${j}`, part('a', i), part('b', j))),
  );
  return `
  ${range(threadRows)
    .flatMap((i) => range(threadColumns).map((j) => `var s${i}_${j} = ${sum}(0);`))
    .join(' ')}
  let tx = t % ${columns / threadColumns}u;
  let ty = t / ${columns / threadColumns}u;
  ${declare.join('\n  ')}
  var k0 = 0u;
  ${load.join('\n  ')}
  ${store('0u').join('\n  ')}
  workgroupBarrier();
  for (var step = 0u; step < steps; step++) {
    let more = step + 1u < steps;
    if (more) {
      k0 = (step + 1u) * ${depth}u;
      ${load.join('\n      ')}
    }
    let half = step & 1u;
    for (var k = 0u; k < ${depth}u; k++) {
      let at = half * ${depth}u + k;
      ${vectors('a', threadRows, rows / threadRows, 'ty').join(' ')}
      ${vectors('b', threadColumns, columns / threadColumns, 'tx').join(' ')}
      ${products.join('\n      ')}
    }
    if (more) {
      let other = 1u - half;
      ${store('other').join('\n      ')}
    }
    workgroupBarrier();
  }`;
}

/** A row-major operand whose `fetch(row, k)` gives four consecutive values of the depth as a vec4. */
export function rowOperand(
  extent: number,
  depth: number,
  scalar: string,
  fetch: (row: string, k: string) => string,
): TileOperand {
  const fours = depth / 4;
  return {
    items: extent * fours,
    declare: (suffix) => `var v${suffix}: vec4<${scalar}>;`,
    load: (suffix, item) => `v${suffix} = ${fetch(`(${item} / ${fours}u)`, `(k0 + (${item} % ${fours}u) * 4u)`)};`,
    store: (suffix, item, at) => {
      const row = `(${item} / ${fours}u)`;
      return range(4)
        .map((c) => {
          const four = at(`(${item} % ${fours}u) * 4u + ${c}u`, `${row} / 4u`);
          return `${four}[${row} % 4u] = v${suffix}.${'xyzw'[c]};`;
        })
        .join(' ');
    },
  };
}
