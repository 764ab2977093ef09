/**
 * A float weight to codes: static, asymmetric, a grid for each output channel or for each group of its inputs. Weights
 * are rounded one input after another; with second moments of the inputs, each error is made up for by the weights after it.
 */
import type { CodeGroups } from '@edge-dit/runtime/engines/engine';
import { GROUP_RECORD_BYTES } from '@edge-dit/runtime/format/code-groups';
import { PANEL_COLUMNS } from '@edge-dit/runtime/format/encodings';
import type { LayerPlan } from '../recipes/recipe.ts';
import { type ChannelGrid, channelGrid, clamp, expandedGrid, type GroupGrid, groupGrid } from './weight-grid.ts';

export interface QuantizedWeight {
  /** Row-major [out, in], 0 to 2^bits - 1. */
  readonly codes: Uint8Array;
  /** [out], float16 numbers: one step of a code. */
  readonly scale: Float32Array;
  /** [out]: the code of 0; with groups, the expanded code. */
  readonly zero: Uint8Array;
  readonly groups?: CodeGroups;
}

/** What calibration knows of a layer's inputs. */
export interface InputMoments {
  /** [in]: the mean square of each. */
  readonly importance: Float32Array;
  /** [in, in], of `errorFeedback`. */
  readonly feedback?: Float32Array;
}

/** What `quantizeWeight` takes, as plain data, which threads hand to each other. */
export interface QuantizeWeight {
  /** Row-major [out, in], of inputs after their balance and rotation. */
  readonly weight: Float32Array;
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly plan: LayerPlan;
  readonly moments?: InputMoments;
}

/** Columns that are finished before their errors are handed on to all later ones at once. */
const BLOCK_COLUMNS = 128;
const WHOLE: GroupGrid = { multiplier: 1, base: 0 };

export function quantizeWeight({ weight, outFeatures, inFeatures, plan, moments }: QuantizeWeight): QuantizedWeight {
  const { bits, group } = plan;
  const grouped = group !== undefined && inFeatures % group === 0 && group < inFeatures;
  const importance = plan.range === 'least-squares' ? moments?.importance : undefined;
  const feedback = plan.rounding === 'gptq' ? moments?.feedback : undefined;
  const rowOf = (n: number) => weight.subarray(n * inFeatures, (n + 1) * inFeatures);
  const grids = Array.from({ length: outFeatures }, (_, n) =>
    grouped ? expandedGrid(rowOf(n), bits, group) : channelGrid(rowOf(n), bits, importance),
  );
  const records = new Uint8Array(
    grouped ? Math.ceil(outFeatures / PANEL_COLUMNS) * (inFeatures / group) * GROUP_RECORD_BYTES : 0,
  );
  const codes = new Uint8Array(weight.length);
  const errors = new Float32Array(feedback ? weight.length : 0);
  const block = grouped ? group : BLOCK_COLUMNS;
  for (let from = 0; from < inFeatures; from += block) {
    const columns = Math.min(block, inFeatures - from);
    for (let n = 0; n < outFeatures; n++) {
      const grid = grids[n];
      if (grid.step === 0) continue;
      const row = n * inFeatures;
      const wanted = weight.slice(row + from, row + from + columns);
      if (feedback) handOn(wanted, errors.subarray(row, row + from), feedback, from, inFeatures);
      const inGroup = grouped ? groupGrid(wanted, bits, grid, importance?.subarray(from, from + columns)) : WHOLE;
      if (grouped) {
        const record = (Math.floor(n / PANEL_COLUMNS) * (inFeatures / group) + from / group) * GROUP_RECORD_BYTES;
        records[record + (n % PANEL_COLUMNS)] = inGroup.multiplier;
        records[record + PANEL_COLUMNS + (n % PANEL_COLUMNS)] = inGroup.base;
      }
      roundBlock(wanted, 2 ** bits - 1, grid, inGroup, (k, code, value) => {
        codes[row + from + k] = code;
        if (!feedback) return;
        const error = weight[row + from + k] - value;
        errors[row + from + k] = error;
        const factors = (from + k) * inFeatures + from;
        for (let later = k + 1; later < columns; later++) wanted[later] += error * feedback[factors + later];
      });
    }
  }
  return {
    codes,
    scale: Float32Array.from(grids, ({ step }) => step),
    zero: Uint8Array.from(grids, ({ zero }) => zero),
    ...(grouped ? { groups: { size: group, records } } : {}),
  };
}

/** Adds to the weights from `from` on what the errors of all earlier ones ask of them. */
function handOn(
  wanted: Float32Array,
  errors: Float32Array,
  feedback: Float32Array,
  from: number,
  inFeatures: number,
): void {
  for (let k = 0; k < errors.length; k++) {
    const error = errors[k];
    const factors = k * inFeatures + from;
    for (let i = 0; i < wanted.length; i++) wanted[i] += error * feedback[factors + i];
  }
}

/** `take` may change the weights that are still to come. */
function roundBlock(
  wanted: Float32Array,
  top: number,
  { step, zero }: ChannelGrid,
  { multiplier, base }: GroupGrid,
  take: (k: number, code: number, value: number) => void,
): void {
  for (let k = 0; k < wanted.length; k++) {
    const code = clamp(Math.round((wanted[k] / step + zero - base) / multiplier), top);
    take(k, code, step * (multiplier * code + base - zero));
  }
}
