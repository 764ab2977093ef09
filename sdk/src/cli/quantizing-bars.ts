/** Bars of what `quantize` and `mix` may have to do one after another: calibrate, measure layers, quantize them. */
import type { Output, Progress } from './output.ts';
import { plural } from './quantities.ts';

export class QuantizingBars {
  readonly #output: Output;
  #title = '';
  #bar: Progress | undefined;

  constructor(output: Output) {
    this.#output = output;
  }

  readonly onCalibrate = (done: number, total: number) => this.#update('calibrating', 'steps', done, total, done - 1);

  readonly onLesson = (done: number, total: number) => this.#update('preparing', 'conditions', done, total, done - 1);

  readonly onMeasure = (done: number, total: number, found: number) => {
    if (done === found && found > 0) {
      this.#output.note(`continuing: ${found} of ${plural(total, 'measurement')} done`);
    }
    this.#update('measuring', 'measurements', done, total, found);
  };

  readonly onLayer = (_layer: unknown, done: number, total: number, found: number) => {
    if (done === 1 && found > 0)
      this.#output.note(`continuing: ${found} of ${plural(total, 'layer')} quantized before`);
    if (done > found) this.#update('quantizing', 'layers', done, total, Math.max(found, done - 1));
  };

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  /** `from`: what was there when it began. */
  #update(title: string, unit: string, done: number, total: number, from: number): void {
    if (this.#title !== title) {
      this.stop();
      this.#title = title;
      this.#bar = this.#output.progress(title, total, unit, from);
    }
    this.#bar?.update(done);
  }
}
