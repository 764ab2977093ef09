/**
 * The loop that every product of matrices has: a workgroup makes a tile of the output, each thread a smaller one in
 * registers, from tiles of both operands in workgroup memory. While one step is multiplied the next is under way from
 * memory. Families say what a step loads, how two values are multiplied, and what becomes of a sum.
 */

export interface TileShape {
  /** Of the output, of a workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Of the output, of a thread: `threadColumns` a multiple of 4. */
  readonly threadRows: number;
  readonly threadColumns: number;
  /** Values of a row that a step takes, a multiple of 4 for each team. */
  readonly depth: number;
  /**
   * Teams of threads, each with the whole tile and its share of a step's depth: a divisor of `threadRows`. Their sums are
   * added at the end. They keep a GPU busy with a product that has few tiles. Default 1.
   */
  readonly teams?: number;
  /** Steps that have room in workgroup memory: of two, one is written while the other is read. Default 2. */
  readonly buffers?: 1 | 2;
}

/** One operand's part of a step, in vec4 in workgroup memory: `along` the depth of a row, or of four columns of a depth. */
export interface TileOperand {
  readonly along: boolean;
  /** Loads of all threads in a step, and WGSL that loads number `item` into variables ending in `suffix`. */
  readonly items: number;
  readonly declare: (suffix: string) => string;
  readonly load: (suffix: string, item: string) => string;
  /** Stores them; `at` gives the place of a vec4: by row and four of the depth, or by depth and four columns. */
  readonly store: (suffix: string, item: string, at: TilePlace) => string;
}

/** WGSL of a vec4 in workgroup memory. */
export type TilePlace = (first: string, second: string) => string;

export interface TileProgram {
  readonly shape: TileShape;
  readonly scalar: 'u32' | 'f32' | 'f16';
  readonly sum: 'i32' | 'f32' | 'f16';
  /** Along the depth. */
  readonly a: TileOperand;
  readonly b: TileOperand;
  /** sum += a * b */
  readonly multiply: (sum: string, a: string, b: string) => string;
}

/** Teams of a shape. */
export const teamsOf = ({ teams = 1 }: TileShape) => teams;
const buffersOf = ({ buffers = 2 }: TileShape) => buffers;

/** Threads side by side, and of a team. */
const acrossOf = ({ columns, threadColumns }: TileShape) => columns / threadColumns;
const downOf = ({ rows, threadRows }: TileShape) => rows / threadRows;

export const tileThreads = (shape: TileShape) => acrossOf(shape) * downOf(shape) * teamsOf(shape);

/** Rows of a thread whose sums it has at the end. */
export const rowsOfThread = (shape: TileShape) => shape.threadRows / teamsOf(shape);

/** Bytes of workgroup memory that the loop takes at most. */
export function tileBytes(shape: TileShape, bytesOfValue = 4): number {
  const { rows, columns, depth } = shape;
  const b = Math.max(depth * acrossStride(columns), columns * alongStride(depth));
  const sums = (teamsOf(shape) - 1) * rows * columns * 4;
  return buffersOf(shape) * (rows * alongStride(depth) + b) * 4 * bytesOfValue + sums;
}

/** In vec4, odd, so that equal places of consecutive rows (or depths) lie in different banks. */
const alongStride = (depth: number) => (depth / 4) | 1;
const acrossStride = (columns: number) => (columns / 4) | 1;

export const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Of row `i` of those that a thread has at the end, in the tile. */
export function tileRow(shape: TileShape, i: number): string {
  const teams = teamsOf(shape);
  const down = downOf(shape);
  return teams === 1 ? `ty + ${i * down}u` : `ty + (${i * teams}u + team) * ${down}u`;
}

/** Of column `j` of a thread: four by four, the threads' fours side by side. */
export const tileColumn = (shape: TileShape, j: number) =>
  `${Math.floor(j / 4) * acrossOf(shape) * 4 + (j % 4)}u + tx * 4u`;

/**
 * Declarations of workgroup memory. By row (or depth) and then by place: hosts hold every index within its array, and of two
 * indices one does not change in the loop and the other is seen to be small, so that nothing of that is left in the loop.
 */
export function tileMemory({ shape, scalar, sum, b }: TileProgram): string {
  const { rows, columns, depth, threadRows, threadColumns } = shape;
  const [teams, buffers] = [teamsOf(shape), buffersOf(shape)];
  const array = (name: string, type: string, inner: number, outer: number) =>
    `var<workgroup> ${name}: array<array<vec4<${type}>, ${inner}>, ${outer}>;`;
  return [
    array('tileA', scalar, alongStride(depth), buffers * rows),
    b.along
      ? array('tileB', scalar, alongStride(depth), buffers * columns)
      : array('tileB', scalar, acrossStride(columns), buffers * depth),
    teams > 1 ? array('sums', sum, tileThreads(shape) / teams, ((teams - 1) * threadRows * threadColumns) / 4) : '',
  ].join('\n');
}

/**
 * WGSL that leaves sum `s<i>_<j>` of each of a thread's `rowsOfThread` and columns; it reads `t` (the thread's index) and
 * `steps`, and loads see the depth's first value as `k0`.
 */
export function tileLoop(program: TileProgram): string {
  const { shape, sum, a, b } = program;
  const { rows, columns, threadRows, threadColumns, depth } = shape;
  const [teams, buffers, threads] = [teamsOf(shape), buffersOf(shape), tileThreads(shape)];
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
  const load = [...each(a, 'A', a.load), ...each(b, 'B', b.load)].join('\n      ');
  const placeA = (half: string) => (row: string, four: string) => `tileA[${half} * ${rows}u + ${row}][${four}]`;
  const placeB = (half: string) => (first: string, second: string) =>
    b.along
      ? `tileB[${half} * ${columns}u + (${first}) % 4u * ${columns / 4}u + (${first}) / 4u][${second}]`
      : `tileB[${half} * ${depth}u + ${first}][${second}]`;
  const store = (half: string) =>
    [
      ...each(a, 'A', (suffix, item) => a.store(suffix, item, placeA(half))),
      ...each(b, 'B', (suffix, item) => b.store(suffix, item, placeB(half))),
    ].join('\n      ');
  const fours = depth / 4 / teams;
  const multiply = (half: string) => `for (var k = 0u; k < ${fours}u; k++) {
      ${teams === 1 ? 'let four = k;' : `let four = team * ${fours}u + k;`}
      ${products(program, half)}
    }`;
  const twice = `
  ${store('0u')}
  workgroupBarrier();
  for (var step = 0u; step < steps; step++) {
    let more = step + 1u < steps;
    if (more) {
      k0 = (step + 1u) * ${depth}u;
      ${load}
    }
    let half = step & 1u;
    ${multiply('half')}
    if (more) {
      let other = 1u - half;
      ${store('other')}
    }
    workgroupBarrier();
  }`;
  const once = `
  for (var step = 0u; step < steps; step++) {
    ${store('0u')}
    workgroupBarrier();
    if (step + 1u < steps) {
      k0 = (step + 1u) * ${depth}u;
      ${load}
    }
    ${multiply('0u')}
    workgroupBarrier();
  }`;
  return `
  ${range(threadRows)
    .flatMap((i) => range(threadColumns).map((j) => `var s${i}_${j} = ${sum}(0);`))
    .join(' ')}
  ${declare.join('\n  ')}
  var k0 = 0u;
  ${load}
  ${buffers === 2 ? twice : once}
  ${teams > 1 ? addTeams(program) : ''}`;
}

/** WGSL of where a thread is in the tile: before all else. */
export function tilePlace(shape: TileShape): string {
  const teams = teamsOf(shape);
  const ofTeam = tileThreads(shape) / teams;
  return `
  let tx = t % ${acrossOf(shape)}u;
  let ty = ${teams === 1 ? 't' : `t % ${ofTeam}u`} / ${acrossOf(shape)}u;
  ${teams === 1 ? '' : `let team = t / ${ofTeam}u;`}`;
}

/** Of four depths, number `four` of the step that lies in `half` of the memory. */
function products({ shape, b, multiply }: TileProgram, half: string): string {
  const { rows, columns, threadRows, threadColumns, depth } = shape;
  const [across, down] = [acrossOf(shape), downOf(shape)];
  const rowsOfA = range(threadRows).map((i) => `let a${i} = tileA[${half} * ${rows}u + ty + ${i * down}u][four];`);
  const part = (i: number) => 'xyzw'[i];
  if (b.along) {
    const slot = (j: number) => `${(j % 4) * (columns / 4) + (j >> 2) * across}u + tx`;
    const each = range(threadColumns).map((j) => {
      const sums = range(threadRows).flatMap((i) =>
        range(4).map((c) => multiply(`s${i}_${j}`, `a${i}.${part(c)}`, `b.${part(c)}`)),
      );
      return `{ let b = tileB[${half} * ${columns}u + ${slot(j)}][four]; ${sums.join(' ')} }`;
    });
    return [...rowsOfA, ...each].join('\n      ');
  }
  const each = range(4).map((c) => {
    const vectors = range(threadColumns / 4).map(
      (q) => `let b${q} = tileB[${half} * ${depth}u + four * 4u + ${c}u][tx + ${q * across}u];`,
    );
    const sums = range(threadRows).flatMap((i) =>
      range(threadColumns).map((j) => multiply(`s${i}_${j}`, `a${i}.${part(c)}`, `b${j >> 2}.${part(j & 3)}`)),
    );
    return `{ ${vectors.join(' ')} ${sums.join(' ')} }`;
  });
  return [...rowsOfA, ...each].join('\n      ');
}

/** Each team adds to its own rows what the others have of them: row `i` of a thread belongs to team `i % teams`. */
function addTeams({ shape, sum }: TileProgram): string {
  const { threadRows, threadColumns } = shape;
  const teams = teamsOf(shape);
  const fours = threadColumns / 4;
  const vector = (i: number, four: number) =>
    `vec4<${sum}>(${range(4)
      .map((c) => `s${i}_${4 * four + c}`)
      .join(', ')})`;
  const put = range(threadRows).map((i) => {
    const owner = `${i % teams}u`;
    const stores = range(fours).map((four) => `sums[rank + ${i * fours + four}u][u] = ${vector(i, four)};`);
    const rank = `select(team - 1u, team, team < ${owner}) * ${threadRows * fours}u`;
    return `if (team != ${owner}) { let rank = ${rank}; ${stores.join(' ')} }`;
  });
  // A row is read before its names are given to the sums of one before it.
  const add = range(rowsOfThread(shape)).flatMap((i) =>
    range(fours).map((four) => {
      const own = range(teams)
        .map((team) => vector(i * teams + team, four))
        .reduce((other, mine, team) => `select(${other}, ${mine}, team == ${team}u)`);
      const at = `(${i * teams}u + team) * ${fours}u + ${four}u`;
      const others = range(teams - 1).map((other) => `sums[${other * threadRows * fours}u + ${at}][u]`);
      const sets = range(4).map((c) => `s${i}_${4 * four + c} = all.${'xyzw'[c]};`);
      return `{ let all = ${[own, ...others].join(' + ')}; ${sets.join(' ')} }`;
    }),
  );
  return `let u = t % ${tileThreads(shape) / teams}u;
  ${put.join('\n  ')}
  workgroupBarrier();
  ${add.join('\n  ')}`;
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
    along: true,
    items: extent * fours,
    declare: (suffix) => `var v${suffix}: vec4<${scalar}>;`,
    load: (suffix, item) => `v${suffix} = ${fetch(`(${item} / ${fours}u)`, `(k0 + (${item} % ${fours}u) * 4u)`)};`,
    store: (suffix, item, at) => `${at(`${item} / ${fours}u`, `${item} % ${fours}u`)} = v${suffix};`,
  };
}
