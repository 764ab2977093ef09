/**
 * Ways to compute float attention, measured in turns on the same inputs: for some queries, all their scores, then their
 * softmax, then the product with the values; or a block of keys after another, as the engine does. And what
 * `f32x4.relaxed_madd` would gain, which rounds once on some processors and twice on others. No worker ships what is only
 * here. Web APIs only.
 */
import { assembleModule, count, defineFunction } from '../asm/function.ts';
import { f32, f32x4, i32, v128 } from '../asm/ops.ts';
import { addBlock, softmaxBlock } from '../kernels/attention-float.ts';
import { exponential } from '../kernels/exponential.ts';
import { gemmF32 } from '../kernels/gemm-f32.ts';
import { forBytes, maxLanes, splat, sumLanes } from '../kernels/lanes.ts';
import { transposePanels } from '../kernels/rows.ts';
import { FLOAT_ROWS } from '../kernels/tiles.ts';
import type { KernelExports } from '../load.ts';

/** Queries whose whole rows of scores are held. */
const QUERIES_OF_ROWS = 48;
/** Queries and keys of a block, as in the engine. */
const BLOCK_ROWS = 96;
const BLOCK_KEYS = 256;
/** With relaxed_madd a product needs no register of its own, so that tiles have more rows. */
const RELAXED_TILE_ROWS = 6;
const FRESH_STATES = Float32Array.from({ length: 4 * BLOCK_ROWS }, (_, i) => (i & 3 ? 0 : Number.NEGATIVE_INFINITY));
/** Heads that are computed, one after another: as many as show how one evicts the next. */
const MEASURED_HEADS = 3;
/** Rows that the kernels may read past the end. */
const SLACK_ROWS = 8;

/** (rows, cols, x, bias, scale): rows of x become softmax(x * scale + bias), in place. */
const softmaxRows = defineFunction(
  'softmax',
  ['i32', 'i32', 'i32', 'i32', 'f32'],
  ([rows, cols, x, bias, scale], local) => {
    const [row, bytes, at] = Array.from({ length: 3 }, () => local('i32'));
    const v = local('v128');
    const factor = local('v128');
    const largest = local('v128');
    const sum = local('v128');
    const {
      exp,
      results: [result],
    } = exponential(local);
    return [
      bytes.set(i32.shl(cols, i32.const(2))),
      factor.set(f32x4.splat(scale)),
      count(row, rows, 1, [
        largest.set(splat(Number.NEGATIVE_INFINITY)),
        ...forBytes(at, bytes, 16, [
          v.set(f32x4.add(f32x4.mul(v128.load(i32.add(x, at)), factor), v128.load(i32.add(bias, at)))),
          largest.set(f32x4.pmax(largest, v)),
          v128.store(i32.add(x, at), v),
        ]),
        largest.set(f32x4.splat(maxLanes(largest))),
        sum.set(v128.zero),
        ...forBytes(at, bytes, 16, [
          ...exp([f32x4.sub(v128.load(i32.add(x, at)), largest)]),
          sum.set(f32x4.add(sum, result)),
          v128.store(i32.add(x, at), result),
        ]),
        sum.set(f32x4.splat(f32.div(f32.const(1), sumLanes(sum)))),
        ...forBytes(at, bytes, 16, [v128.store(i32.add(x, at), f32x4.mul(v128.load(i32.add(x, at)), sum))]),
        x.set(i32.add(x, bytes)),
      ]),
    ];
  },
);

type Kernels = Pick<KernelExports, 'gemm_f32' | 'transpose_panels' | 'softmax_block' | 'add_block'> & {
  softmax(rows: number, cols: number, x: number, bias: number, scale: number): void;
};

export interface AttentionShape {
  /** A multiple of 8. */
  readonly tokens: number;
  /** Side by side in a token. */
  readonly heads: number;
  /** Channels of a head, a multiple of 4. */
  readonly depth: number;
}

/** Addresses: of the first token of a head in q, k, v and the output, and of what a form needs for itself. */
interface Addresses {
  readonly q: number;
  readonly k: number;
  readonly v: number;
  readonly out: number;
  readonly bias: number;
  readonly panels: number;
  readonly scores: number;
  readonly partial: number;
  readonly states: number;
  readonly tail: number;
}

interface Form {
  /** Floats of scores that it holds at once. */
  scores(tokens: number): number;
  attend(kernels: Kernels, memory: WebAssembly.Memory, shape: AttentionShape, at: Addresses): void;
}

const rowsOfScores: Form = {
  scores: (tokens) => (QUERIES_OF_ROWS + SLACK_ROWS) * tokens,
  attend({ transpose_panels, gemm_f32, softmax }, _memory, { tokens, heads, depth }, { q, k, v, out, ...at }) {
    const stride = 4 * heads * depth;
    transpose_panels(tokens, depth, k, stride, at.panels);
    for (let i = 0; i < tokens; i += QUERIES_OF_ROWS) {
      const m = Math.min(QUERIES_OF_ROWS, tokens - i);
      const [from, to, width] = [q + i * stride, out + i * stride, 4 * tokens];
      gemm_f32(m, tokens, depth, from, stride, at.panels, 32 * depth, 32, 0, at.scores, width, at.tail);
      softmax(m, tokens, at.scores, at.bias, 1 / Math.sqrt(depth));
      gemm_f32(m, depth, tokens, at.scores, width, v, 32, stride, 0, to, stride, at.tail);
    }
  },
};

const blocksOfKeys: Form = {
  scores: (tokens) => (BLOCK_ROWS + SLACK_ROWS) * Math.min(tokens, BLOCK_KEYS),
  attend(kernels, memory, { tokens, heads, depth }, { q, k, v, out, ...at }) {
    const { transpose_panels, gemm_f32, softmax_block, add_block } = kernels;
    const stride = 4 * heads * depth;
    transpose_panels(tokens, depth, k, stride, at.panels);
    for (let i = 0; i < tokens; i += BLOCK_ROWS) {
      const m = Math.min(BLOCK_ROWS, tokens - i);
      const [from, to] = [q + i * stride, out + i * stride];
      new Float32Array(memory.buffer, at.states, FRESH_STATES.length).set(FRESH_STATES);
      for (let j = 0; j < tokens; j += BLOCK_KEYS) {
        const n = Math.min(BLOCK_KEYS, tokens - j);
        const [panels, last] = [at.panels + 4 * j * depth, Number(j + n === tokens)];
        gemm_f32(m, n, depth, from, stride, panels, 32 * depth, 32, 0, at.scores, 4 * n, at.tail);
        softmax_block(m, n, at.scores, at.bias + 4 * j, 1 / Math.sqrt(depth), at.states, last);
        gemm_f32(m, depth, n, at.scores, 4 * n, v + j * stride, 32, stride, 0, at.partial, 4 * depth, at.tail);
        add_block(m, depth, at.partial, at.states, to, stride);
      }
    }
  },
};

const FORMS = { 'rows of scores': rowsOfScores, 'blocks of keys': blocksOfKeys } as const;
export type AttentionForm = keyof typeof FORMS;

function instantiate(relaxed: boolean, memory: WebAssembly.Memory): Kernels {
  const gemm = relaxed ? gemmF32('gemm_f32', RELAXED_TILE_ROWS, f32x4.relaxed_madd) : gemmF32('gemm_f32', FLOAT_ROWS);
  const module = assembleModule([gemm, softmaxRows, transposePanels, softmaxBlock, addBlock]);
  return new WebAssembly.Instance(new WebAssembly.Module(module), { env: { memory } }).exports as unknown as Kernels;
}

export interface AttentionFigure {
  readonly form: AttentionForm;
  /** Whether products and sums were one `relaxed_madd`. */
  readonly relaxed: boolean;
  /** Median over rounds, of a head. */
  readonly milliseconds: number;
  /** What it holds beside its inputs and its output. */
  readonly scratchBytes: number;
  /** The largest difference to the first figure's output. */
  readonly difference: number;
}

/** Milliseconds since some time: of the wall, or of the processor. */
export type Clock = () => number;

/** @param relaxed whether to measure `relaxed_madd` too, which the host must know */
export function compareAttention(
  shape: AttentionShape,
  relaxed: boolean,
  rounds: number,
  clock: Clock,
): AttentionFigure[] {
  const { tokens, heads, depth } = shape;
  const length = tokens * heads * depth;
  let top = 1024;
  const take = (floats: number) => {
    const at = top;
    top += (4 * floats + 63) & ~63;
    return at;
  };
  const [q, k, v, out] = [take(length), take(length), take(length), take(length)];
  const own = {
    bias: take(tokens),
    panels: take(tokens * depth),
    partial: take(BLOCK_ROWS * depth),
    states: take(FRESH_STATES.length),
    tail: take(16),
    scores: take(Math.max(...Object.values(FORMS).map((form) => form.scores(tokens)))),
  };
  const memory = new WebAssembly.Memory({ initial: Math.ceil(top / 65536) + 1 });
  let state = 1;
  new Float32Array(memory.buffer, q, 3 * length).forEach((_, i, inputs) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    inputs[i] = state / 2 ** 31 - 1;
  });
  const names = Object.keys(FORMS) as AttentionForm[];
  const runs = (relaxed ? [false, true] : [false]).flatMap((madd) => {
    const kernels = instantiate(madd, memory);
    const attend = (form: AttentionForm) => () => {
      for (let at = 0; at < MEASURED_HEADS * 4 * depth; at += 4 * depth) {
        FORMS[form].attend(kernels, memory, shape, { q: q + at, k: k + at, v: v + at, out: out + at, ...own });
      }
    };
    return names.map((form) => ({ form, relaxed: madd, run: attend(form) }));
  });
  const output = new Float32Array(memory.buffer, out, length);
  runs[0].run();
  const expected = output.slice();
  const differences = runs.map(({ run }) => {
    run();
    return output.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
  });
  const times = medians(
    runs.map(({ run }) => run),
    rounds,
    clock,
  );
  return runs.map(({ form, relaxed: madd }, i) => ({
    form,
    relaxed: madd,
    milliseconds: times[i] / MEASURED_HEADS,
    scratchBytes: 4 * (tokens * depth + FORMS[form].scores(tokens)),
    difference: differences[i],
  }));
}

/** Milliseconds of a float product [rows, inputs] by [outputs, inputs]: as it is shipped, and with `relaxed_madd`. */
export function compareProducts(
  rows: number,
  outputs: number,
  inputs: number,
  rounds: number,
  clock: Clock,
): [number, number] {
  const [a, panels] = [1024, 1024 + 4 * (rows + SLACK_ROWS) * inputs];
  const out = panels + 4 * inputs * outputs;
  const tail = out + 4 * rows * outputs;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(tail / 65536) + 1 });
  const runs = [false, true].map((relaxed) => {
    const { gemm_f32 } = instantiate(relaxed, memory);
    return () => gemm_f32(rows, outputs, inputs, a, 4 * inputs, panels, 32 * inputs, 32, 0, out, 4 * outputs, tail);
  });
  for (const run of runs) run();
  const [shipped, relaxed] = medians(runs, rounds, clock);
  return [shipped, relaxed];
}

/** Runs in turns, so that what else the machine does hits all alike. */
function medians(runs: readonly (() => void)[], rounds: number, clock: Clock): number[] {
  const samples = runs.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, run] of runs.entries()) {
      const start = clock();
      run();
      samples[i].push(clock() - start);
    }
  }
  return samples.map((values) => values.sort((x, y) => x - y)[values.length >> 1]);
}
