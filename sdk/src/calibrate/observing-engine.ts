/**
 * An engine that lets somebody look at what every linear layer reads. It computes with another engine, and changes
 * nothing.
 */
import type { AttentionOptions, Engine, Linear, LinearSource, Operand, Tensor } from '@edge-dit/runtime/engines/engine';

/** Takes the values [rows, channels] that a layer reads: the operand after its pass. */
export type TakeValues = (values: Float32Array) => void | Promise<void>;

/** Asked whenever a layer is applied. Layers that share an operand get the same one; values come to whoever wants them. */
export type Observer = (linear: Linear, operand: Operand) => TakeValues | undefined;

export class ObservingEngine implements Engine {
  readonly name: string;
  readonly #inner: Engine;
  readonly #pending: Promise<void>[] = [];
  /** What it returns is called, and waited for, before the next `read` ends. */
  observer: Observer | undefined;

  constructor(inner: Engine) {
    this.#inner = inner;
    this.name = inner.name;
  }

  get bytes(): number {
    return this.#inner.bytes;
  }

  apply(linear: Linear, operand: Operand): Tensor {
    this.#observe(linear, operand);
    return this.#inner.apply(linear, operand);
  }

  applyInto(x: Tensor, linear: Linear, operand: Operand, gate?: Tensor): void {
    this.#observe(linear, operand);
    this.#inner.applyInto(x, linear, operand, gate);
  }

  #observe(linear: Linear, operand: Operand): void {
    const take = this.observer?.(linear, operand);
    if (take) this.#pending.push(this.#inner.read(this.#inner.materialize(operand)).then(take));
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
  concat = (parts: readonly Tensor[]) => this.#inner.concat(parts);
  select = (t: Tensor, index: number) => this.#inner.select(t, index);
  reshape = (t: Tensor, shape: readonly number[]) => this.#inner.reshape(t, shape);
}
