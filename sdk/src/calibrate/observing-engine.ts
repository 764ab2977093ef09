/**
 * An engine that lets somebody look at what every linear layer reads. It computes with another engine, and changes
 * nothing.
 */
import {
  type AttentionOptions,
  type Engine,
  type Linear,
  type LinearSource,
  matrixOf,
  type Operand,
  type Tensor,
} from '@edge-dit/runtime/engines/engine';

/** What a layer read: x [rows, channels], after the operand's pass. Layers that share an operand get the same one. */
export interface Observation {
  readonly linear: Linear;
  readonly operand: Operand;
  readonly x: Float32Array;
  readonly channels: number;
}

export class ObservingEngine implements Engine {
  readonly name: string;
  readonly #inner: Engine;
  readonly #pending: Promise<void>[] = [];
  /** Called before the next `read` ends. */
  observer: ((observation: Observation) => void) | undefined;

  constructor(inner: Engine) {
    this.#inner = inner;
    this.name = inner.name;
  }

  get bytes(): number {
    return this.#inner.bytes;
  }

  apply(linear: Linear, operand: Operand): Tensor {
    const { observer } = this;
    if (observer) {
      const x = this.#inner.materialize(operand);
      const { channels } = matrixOf(x);
      this.#pending.push(this.#inner.read(x).then((values) => observer({ linear, operand, x: values, channels })));
    }
    return this.#inner.apply(linear, operand);
  }

  async read(tensor: Tensor): Promise<Float32Array> {
    const values = await this.#inner.read(tensor);
    await Promise.all(this.#pending.splice(0));
    return values;
  }

  linear = (source: LinearSource) => this.#inner.linear(source);
  constant = (data: Float32Array, shape: readonly number[]) => this.#inner.constant(data, shape);
  mark = () => this.#inner.mark();
  release = (mark: number) => this.#inner.release(mark);
  input = (data: Float32Array, shape: readonly number[]) => this.#inner.input(data, shape);
  operand = (source: Tensor, pass?: Operand['pass']) => this.#inner.operand(source, pass);
  materialize = (operand: Operand) => this.#inner.materialize(operand);
  attention = (q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions) => this.#inner.attention(q, k, v, options);
  add = (x: Tensor, table: Tensor) => this.#inner.add(x, table);
  accumulate = (x: Tensor, y: Tensor, gate?: Tensor) => this.#inner.accumulate(x, y, gate);
  concat = (parts: readonly Tensor[]) => this.#inner.concat(parts);
  select = (t: Tensor, index: number) => this.#inner.select(t, index);
  reshape = (t: Tensor, shape: readonly number[]) => this.#inner.reshape(t, shape);
}
