/** Every group of layers that may be quantized: how what it reads varies, and what rounding costs each of its layers. */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Calibration } from '../calibrate/calibration.ts';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import { balances } from '../quantize/balance.ts';
import type { Analysis, AnalyzedLayer, AnalyzedOperand } from './analysis.ts';
import { layerErrors } from './layer-errors.ts';
import { incoherenceOf, varianceOf } from './operand-figures.ts';
import type { TokenRows } from './token-rows.ts';
import { treatedActivations, treatedWeight, treatmentsOf } from './treatment.ts';

export interface AnalyzeOperandsOptions {
  readonly canonical: CanonicalCheckpoint;
  readonly calibration: Calibration;
  readonly rows: TokenRows;
  readonly alpha: number;
  /** Computes products; it is left as it was. */
  readonly engine: Engine;
  readonly signal?: AbortSignal;
  readonly onLayer?: (done: number, total: number) => void;
}

/** Tokens on which errors are measured. */
const TOKENS = 256;

export async function analyzeOperands(options: AnalyzeOperandsOptions): Promise<Pick<Analysis, 'layers' | 'operands'>> {
  const { canonical, calibration, rows, alpha, engine, signal, onLayer } = options;
  const { linears } = canonical.architecture;
  const specs = new Map(linears.filter(quantizable).map((spec) => [spec.name, spec]));
  const balanceOf = await balances(canonical, calibration, new Set(specs.keys()), alpha);
  const layers: AnalyzedLayer[] = [];
  const operands: AnalyzedOperand[] = [];
  for (const group of calibration.groups) {
    const names = group.layers.filter((name) => specs.has(name));
    if (names.length === 0) continue;
    const { channels } = group;
    const balance = balanceOf.get(names[0])!;
    const treatments = treatmentsOf(channels);
    const steps = rows.bySteps(group.layers[0]);
    const incoherence = treatments.map((treatment) => [
      treatment,
      steps.map((values) => incoherenceOf(treatedActivations(values, balance, treatment), channels)),
    ]);
    operands.push({
      layers: names,
      channels,
      variance: varianceOf(group),
      incoherence: Object.fromEntries(incoherence),
    });
    const x = rows.some(group.layers[0], TOKENS);
    for (const name of names) {
      if (signal?.aborted) throw new EdgeDitError('aborted', 'the analysis was cancelled.', { cause: signal.reason });
      const weight = await canonical.tensors.get(`${name}.weight`)!.read();
      const errors: AnalyzedLayer['errors'] = {};
      for (const treatment of treatments) {
        const [input, matrix] = [treatedActivations(x, balance, treatment), treatedWeight(weight, balance, treatment)];
        Object.assign(errors, { [treatment]: await layerErrors(engine, input, matrix, channels) });
      }
      layers.push({ name, outFeatures: specs.get(name)!.outFeatures, inFeatures: channels, errors });
      onLayer?.(layers.length, specs.size);
      // An interrupt wants to be heard.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return { layers, operands };
}

const quantizable = ({ role, inFeatures }: { role: string; inFeatures: number }) =>
  role === 'body' && inFeatures % 4 === 0;
