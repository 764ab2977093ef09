/** The integer program of mixed precision: one width for each layer, the least cost within so many bytes. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { ALIGNMENT } from '@edge-dit/runtime/format/limits';
import highs, { type Highs } from 'highs';

/** A layer at one of its widths. */
export interface Choice {
  /** A multiple of 64. */
  readonly bytes: number;
  /** Not negative; costs of layers add up. */
  readonly cost: number;
}

/** The solver's tolerances are absolute: what the dearest choices cost together becomes this. */
const COST_SCALE = 1e6;

/** The package's types are those of its CommonJS build; what Node imports is its ES module. */
const loadHighs = highs as unknown as typeof highs.default;
let solver: Promise<Highs> | undefined;

/**
 * The index of a choice for each layer: exactly the optimum, by HiGHS (branch and cut).
 * @throws `internal` when even the smallest choices are beyond `limit`: callers refuse that before
 */
export async function chooseBits(layers: readonly (readonly Choice[])[], limit: number): Promise<number[]> {
  if (layers.length === 0) return [];
  const { solve } = await (solver ??= loadHighs());
  const { Status, Columns } = solve(programOf(layers, limit), { output_flag: false, mip_rel_gap: 0, mip_abs_gap: 0 });
  if (Status !== 'Optimal') throw new EdgeDitError('internal', `the integer program ended as ${Status}.`);
  const chosen = layers.map((choices, i) =>
    choices.findIndex((_, k) => Math.round(Columns[variable(i, k)].Primal ?? 0) === 1),
  );
  const bytes = layers.reduce((sum, choices, i) => sum + choices[chosen[i]].bytes, 0);
  if (bytes > limit) throw new EdgeDitError('internal', `the integer program took ${bytes} bytes of ${limit}.`);
  return chosen;
}

const variable = (layer: number, choice: number) => `x${layer}_${choice}`;

/** In CPLEX's LP format, a term a line: readers may limit the length of one. */
function programOf(layers: readonly (readonly Choice[])[], limit: number): string {
  const most = layers.reduce((sum, choices) => sum + Math.max(...choices.map(({ cost }) => cost)), 0) || 1;
  const terms = (of: (choice: Choice) => number) =>
    layers.flatMap((choices, i) => choices.map((choice, k) => ` + ${of(choice)} ${variable(i, k)}`));
  const names = layers.map((choices, i) => choices.map((_, k) => variable(i, k)));
  return [
    'Minimize',
    ' cost:',
    ...terms(({ cost }) => (COST_SCALE * cost) / most),
    'Subject To',
    ...names.map((of, i) => ` one${i}: ${of.join(' + ')} = 1`),
    ' bytes:',
    // In units of which all are whole numbers.
    ...terms(({ bytes }) => bytes / ALIGNMENT),
    ` <= ${Math.floor(limit / ALIGNMENT)}`,
    'Binary',
    ...names.map((of) => ` ${of.join(' ')}`),
    'End',
  ].join('\n');
}
