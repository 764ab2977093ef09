/**
 * The sum of x x^T over rows x that come one by one: what GPTQ (arXiv 2210.17323) calls the Hessian. Rows are gathered
 * and multiplied in batches by an engine, X^T X = A W^T with A = W = X^T, the upper triangle alone.
 */
import type { Engine } from '@edge-dit/runtime/engines/engine';

/** Rows that are multiplied at once: enough to keep the product busy, at 6 MB for 1,536 channels. */
const BATCH_ROWS = 1024;
/** Columns of the product that are computed at once: rows below them are left out, which halves the work. */
const BLOCK_COLUMNS = 128;

/** Numbers in the upper triangle of a matrix [channels, channels], the diagonal included. */
export const triangleLength = (channels: number) => (channels * (channels + 1)) / 2;

/** Where row `row` of the triangle begins: with its element on the diagonal. */
const rowStart = (row: number, channels: number) => row * channels - (row * (row - 1)) / 2;

/** The whole symmetric matrix [channels, channels] of a triangle. */
export function squareOf(triangle: Float32Array, channels: number): Float32Array {
  const out = new Float32Array(channels * channels);
  for (let row = 0, at = 0; row < channels; row++) {
    for (let column = row; column < channels; column++, at++) {
      out[row * channels + column] = triangle[at];
      out[column * channels + row] = triangle[at];
    }
  }
  return out;
}

export class SecondMoment {
  readonly triangle: Float32Array;
  rows = 0;
  readonly #channels: number;
  readonly #batch: Float32Array;
  #held = 0;

  /** @param mostRows how many will come: a batch is not larger */
  constructor(channels: number, mostRows: number) {
    this.#channels = channels;
    this.triangle = new Float32Array(triangleLength(channels));
    this.#batch = new Float32Array(Math.min(mostRows, BATCH_ROWS) * channels);
  }

  /** Takes a row [channels]; `engine` is left as it was. */
  async add(row: Float32Array, engine: Engine): Promise<void> {
    const channels = this.#channels;
    this.#batch.set(row, this.#held++ * channels);
    if (this.#held * channels === this.#batch.length) await this.flush(engine);
  }

  /** Multiplies what is held. */
  async flush(engine: Engine): Promise<void> {
    const channels = this.#channels;
    const rows = this.#held;
    const transposed = new Float32Array(channels * rows);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < channels; c++) transposed[c * rows + r] = this.#batch[r * channels + c];
    }
    this.#held = 0;
    this.rows += rows;
    for (let from = 0; rows > 0 && from < channels; from += BLOCK_COLUMNS) {
      const columns = Math.min(BLOCK_COLUMNS, channels - from);
      const until = from + columns;
      const mark = engine.mark();
      const weight = transposed.subarray(from * rows, until * rows);
      const linear = engine.linear({ kind: 'float', weight, outFeatures: columns, inFeatures: rows });
      const x = engine.input(transposed.subarray(0, until * rows), [until, rows]);
      const product = await engine.read(engine.apply(linear, engine.operand(x)));
      engine.release(mark);
      this.#accumulate(product, from, columns);
    }
  }

  /** Adds the part of `product` [from + columns, columns] that is in the triangle. */
  #accumulate(product: Float32Array, from: number, columns: number): void {
    for (let row = 0; row < from + columns; row++) {
      const start = rowStart(row, this.#channels) - row;
      for (let column = Math.max(row, from); column < from + columns; column++) {
        this.triangle[start + column] += product[row * columns + column - from];
      }
    }
  }
}
