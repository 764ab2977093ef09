/**
 * One linear layer, from float in to float out: ours in every variant and weight form, onnxruntime-web's in every form,
 * and the ceilings. For our fastest also the product alone, on an operand that is quantized already, as when layers share one.
 */
import type { Engine, Linear } from '@edge-dit/runtime/engines/engine';
import type { BenchHost } from './bench-host.ts';
import { ceilingCases } from './ceiling.ts';
import { controlCase } from './control.ts';
import { openVariant, variantsOf } from './engines.ts';
import { type Case, interleave } from './interleave.ts';
import {
  type LinearLayer,
  linearSource,
  plainRows,
  randomLayer,
  WEIGHT_FORMS,
  type WeightForm,
} from './linear-layer.ts';
import { linearOnnx, ONNX_FORMS } from './linear-onnx.ts';
import { type OrtModel, openOrtModel } from './ort-session.ts';
import type { Checked, Part, TimedResult } from './parts.ts';
import { randomFloats } from './random-values.ts';
import { checkOutput, type Output } from './relative-error.ts';

/** Float sums in another order; activations rounded to 8 bits by row, or by the whole matrix. */
const TOLERANCE = { f32: 1e-5, w8: 0.015, w4: 0.015, fp32: 1e-5, int8: 0.025, int4: 1e-5 };

type GemmPart = Extract<Part, { kind: 'gemm' }>;

export async function runGemm(host: BenchHost, { m, n, k, effort }: GemmPart): Promise<TimedResult> {
  const layer = randomLayer(n, k, 7);
  const x = randomFloats(m * k, 11);
  const macs = m * n * k;
  const rows = [0, m >> 1, m - 1];
  const standard = { name: 'plain loops', values: plainRows(layer, x, rows) };
  const compare = (name: string, values: Float32Array, tolerance: number) =>
    checkOutput({ name, values: picked(values, rows, n) }, standard, tolerance);
  const cases: Case[] = ceilingCases(host);
  const checks: Checked[] = [];
  const models: OrtModel[] = [];
  try {
    let faster: Map<WeightForm, Output> | undefined;
    for (const variant of variantsOf(host)) {
      const outputs = new Map<WeightForm, Output>();
      // The float kernel is the same in every variant.
      for (const form of WEIGHT_FORMS.filter((one) => one !== 'f32' || faster === undefined)) {
        const ours = await prepare(await openVariant(host, variant), layer, form, x, m);
        const output = { name: `${variant}/${form}`, values: await ours.read() };
        outputs.set(form, output);
        checks.push(compare(output.name, output.values, TOLERANCE[form]));
        // Variants differ in speed only, never in a bit.
        const other = faster?.get(form);
        if (other) checks.push(checkOutput(output, other, 0));
        cases.push({ name: `${output.name}/layer`, macs, run: ours.layer });
        // Floats are not quantized, and of slower variants the layer says enough.
        if (form !== 'f32' && !faster) cases.push({ name: `${output.name}/product`, macs, run: ours.product });
      }
      faster ??= outputs;
    }
    for (const form of ONNX_FORMS) {
      const model = await openOrtModel(host.onnx, linearOnnx(layer, form), () => ({ x: ['float32', x, [m, k]] }));
      models.push(model);
      checks.push(compare(`onnxruntime/${form}`, await model.run(), TOLERANCE[form]));
      cases.push({ name: `onnxruntime/${form}`, macs, run: async () => void (await model.run()) });
    }
    cases.push(await controlCase(host));
    return { cases: await interleave(cases, effort), checks };
  } finally {
    for (const model of models) await model.release();
  }
}

/** The layer and its input in an engine of their own. What a run makes is released, so that runs do not add up. */
async function prepare(engine: Engine, layer: LinearLayer, form: WeightForm, x: Float32Array, m: number) {
  const linear: Linear = engine.linear(linearSource(layer, form));
  const input = engine.input(x, [m, layer.inFeatures]);
  const shared = engine.operand(input);
  engine.apply(linear, shared);
  const mark = engine.mark();
  const released = (run: () => void) => () => {
    run();
    engine.release(mark);
  };
  return {
    layer: released(() => engine.apply(linear, engine.operand(input))),
    product: released(() => engine.apply(linear, shared)),
    read: async () => {
      const values = await engine.read(engine.apply(linear, engine.operand(input)));
      engine.release(mark);
      return values;
    },
  };
}

const picked = (values: Float32Array, rows: readonly number[], columns: number) =>
  Float32Array.from(rows.flatMap((row) => [...values.subarray(row * columns, (row + 1) * columns)]));
