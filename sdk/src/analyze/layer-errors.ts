/** One layer's weight, what it reads and what it gives, rounded to codes and compared with what they were. */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import { BITS, type LayerErrors, OUTPUT_FORMS, type OutputForm } from './analysis.ts';
import { relativeError, roundTrip } from './round-trip.ts';

/** A matrix, exact and rounded to codes of each width. */
type Rounded = ReadonlyMap<number | undefined, Float32Array>;

/**
 * @param x [rows, inFeatures] that the layer reads, and its `weight` [outFeatures, inFeatures], under the same treatment
 * @param engine computes the products; it is left as it was
 */
export async function layerErrors(
  engine: Engine,
  x: Float32Array,
  weight: Float32Array,
  inFeatures: number,
): Promise<LayerErrors> {
  const inputs = rounded(x, inFeatures);
  const weights = rounded(weight, inFeatures);
  const outputs = new Map<OutputForm | 'exact', Float32Array>();
  const forms = ['exact', ...OUTPUT_FORMS] as const;
  for (const [weightBits, matrix] of weights) {
    const mark = engine.mark();
    const linear = engine.linear({
      kind: 'float',
      weight: matrix,
      outFeatures: weight.length / inFeatures,
      inFeatures,
    });
    for (const form of forms.filter((name) => bitsOf(name).weight === weightBits)) {
      const input = engine.input(inputs.get(bitsOf(form).activation)!, [x.length / inFeatures, inFeatures]);
      outputs.set(form, await engine.read(engine.apply(linear, engine.operand(input))));
    }
    engine.release(mark);
  }
  const errorsOf = (matrices: Rounded, exact: Float32Array) =>
    Object.fromEntries(BITS.map((bits) => [bits, relativeError(matrices.get(bits)!, exact)])) as LayerErrors['weight'];
  return {
    weight: errorsOf(weights, weight),
    activation: errorsOf(inputs, x),
    output: Object.fromEntries(
      OUTPUT_FORMS.map((form) => [form, relativeError(outputs.get(form)!, outputs.get('exact')!)]),
    ) as LayerErrors['output'],
  };
}

function rounded(values: Float32Array, columns: number): Rounded {
  return new Map([
    [undefined, values],
    ...BITS.map((bits): [number, Float32Array] => [bits, roundTrip(values, columns, bits)]),
  ]);
}

/** `W4A8`: 4 and 8; what is not named is exact. */
function bitsOf(form: OutputForm | 'exact'): { weight?: number; activation?: number } {
  const [, weight, activation] = /^(?:W(\d))?(?:A(\d))?$/.exec(form) ?? [];
  return { weight: weight && Number(weight), activation: activation && Number(activation) } as ReturnType<
    typeof bitsOf
  >;
}
