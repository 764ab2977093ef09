/** Linear layers in the memory of a GPU, as gemm-codes.ts and gemm-float.ts read them. */
import { PANEL_COLUMNS } from '../../format/encodings.ts';
import type { CodeBits, Linear, LinearSource } from '../engine.ts';
import type { ActivationForm } from './activation-forms.ts';
import { codeOffset, groupWords, wordsOfElement } from './codes.ts';
import { columnSums } from './column-sums.ts';
import type { GpuMemory } from './gpu-memory.ts';
import type { GpuQueue } from './gpu-queue.ts';

export interface GpuLinear extends Linear {
  readonly buffer: GPUBuffer;
  /** Of float layers. */
  readonly bias?: GPUBuffer;
  /** Of layers of codes. */
  readonly coded?: CodedLayer;
  /** Of those whose activations are codes too. */
  readonly form?: ActivationForm;
}

/** Where the parts of a layer lie in its buffer: parameters of the kernels. */
export interface CodedLayer {
  readonly bits: CodeBits;
  readonly grouped: boolean;
  readonly fours: number;
  readonly groupsAt: number;
  readonly columnsAt: number;
  readonly groupFours: number;
}

type CodedSource = Extract<LinearSource, { kind: 'codes' }>;
type FloatSource = Extract<LinearSource, { kind: 'float' }>;

export function floatLayer(memory: GpuMemory, queue: GpuQueue, source: FloatSource): GpuLinear {
  const { weight, bias, outFeatures, inFeatures } = source;
  const buffer = memory.weights(weight.byteLength);
  const biases = memory.weights(4 * outFeatures);
  queue.upload(buffer, weight);
  if (bias) queue.upload(biases, bias);
  return { outFeatures, inFeatures, weightBits: 32, buffer, bias: biases };
}

/** @param packed as in gemm-codes.ts */
export function codedLayer(
  memory: GpuMemory,
  queue: GpuQueue,
  source: CodedSource,
  form: ActivationForm | undefined,
  packed: boolean,
): GpuLinear {
  const { outFeatures, inFeatures, bits, panels, groups, scale, zero, bias } = source;
  const count = Math.ceil(outFeatures / PANEL_COLUMNS);
  const fours = inFeatures / 4;
  const groupsAt = count * fours * groupWords(bits);
  // Whole vectors, also where panels go by words.
  const records = roundUp4(groupsAt);
  const columnsAt = records + (groups ? roundUp4(groups.records.length / 4) : 0);
  const words = new Uint32Array(columnsAt + 4 * PANEL_COLUMNS * count);
  const bytes = new Uint8Array(words.buffer);
  bytes.set(panels);
  if (groups) bytes.set(groups.records, 4 * records);
  const floats = new Float32Array(words.buffer);
  const offset = codeOffset(bits, groups !== undefined);
  for (let n = 0; n < outFeatures; n++) {
    const at = columnsAt + 4 * n;
    floats[at] = scale[n];
    words[at + 1] = zero[n] - offset;
    floats[at + 3] = bias?.[n] ?? 0;
  }
  const buffer = memory.weights(words.byteLength);
  queue.upload(buffer, floats);
  const unit = wordsOfElement(bits);
  const coded: CodedLayer = {
    bits,
    grouped: groups !== undefined,
    fours,
    groupsAt: records / unit,
    columnsAt: columnsAt / unit,
    groupFours: (groups?.size ?? inFeatures) / 4,
  };
  if (form) {
    const kernel = columnSums({ bits, grouped: coded.grouped, packed });
    queue.dispatch(kernel, [buffer], { panels: count, ...parametersOf(coded) }, rowGroups(count));
  }
  return { outFeatures, inFeatures, weightBits: bits, buffer, coded, form };
}

/** What kernels are told of a layer of codes. */
export const parametersOf = ({ fours, groupsAt, columnsAt, groupFours }: CodedLayer) => {
  return { fours, groupsAt, columnsAt, groupFours };
};

const MOST_GROUPS = 65535;

/** So many workgroups, in two dimensions where one does not reach. */
export function rowGroups(count: number): readonly [number, number, number] {
  const down = Math.ceil(count / MOST_GROUPS);
  return [Math.ceil(count / down), down, 1];
}

const roundUp4 = (value: number) => Math.ceil(value / 4) * 4;
