/**
 * What a benchmark asks of a host, and what the host answers: plain JSON both ways, because the host may be another
 * process, an isolate or a browser.
 */

/** How often each case is measured, and for how long at least: short work is repeated within a sample. */
export interface Effort {
  readonly rounds: number;
  readonly sampleMs: number;
  /** Before the first sample, at least: engines optimize what runs long enough. */
  readonly warmUpMs: number;
}

export type Part =
  /** One quantized linear layer [n, k] on m rows: ours in each variant, onnxruntime-web's, the ceilings. */
  | { readonly kind: 'gemm'; readonly m: number; readonly n: number; readonly k: number; readonly effort: Effort }
  /** One denoising step: published models and ONNX files of the same network, on the same inputs. */
  | {
      readonly kind: 'step';
      readonly models: readonly PublishedModel[];
      readonly onnx: readonly OnnxFile[];
      readonly work: StepWork;
      readonly effort: Effort;
    }
  /** Where the time of a step goes, by kernel. Timers cost time themselves, so nothing else is read from this run. */
  | { readonly kind: 'profile'; readonly model: PublishedModel; readonly work: StepWork; readonly steps: number }
  /** One denoising step on one thread and on `threads`. Only in hosts that have them. */
  | {
      readonly kind: 'threads';
      readonly model: PublishedModel;
      readonly work: StepWork;
      readonly threads: number;
      readonly effort: Effort;
    }
  /** A step of a random network of width 384: how its cost grows. */
  | { readonly kind: 'scaling'; readonly tokens: number; readonly depth: number; readonly effort: Effort };

export interface StepWork {
  /** 2 with guidance. */
  readonly batch: number;
  /** Of the text; unused by models of classes. */
  readonly tokens: number;
}

export interface PublishedModel {
  /** Such as `w4a8`. */
  readonly name: string;
  /** Base of an HTTP store. */
  readonly store: string;
  readonly model: string;
  /** Largest relative error that is no bug of the benchmark. */
  readonly tolerance: number;
}

export interface OnnxFile {
  /** Such as `fp32`. */
  readonly name: string;
  readonly url: string;
  readonly tolerance: number;
}

/** The case that is the same in every timed part: see control.ts. */
export const CONTROL = 'control';

/** Raw values of one case: milliseconds of one execution, a value for each round. */
export interface Measured {
  readonly name: string;
  /** Executions in each sample. */
  readonly repeats: number;
  readonly milliseconds: readonly number[];
  /** Multiply-adds of one execution, where they are the point. */
  readonly macs?: number;
}

/** An output compared with another before anything was timed. */
export interface Checked {
  readonly name: string;
  readonly against: string;
  /** ||a - b|| / ||b||. */
  readonly relativeError: number;
  readonly tolerance: number;
}

export interface TimedResult {
  readonly cases: readonly Measured[];
  readonly checks: readonly Checked[];
}

export interface ProfileResult {
  readonly engine: string;
  readonly steps: number;
  /** Of one step: with timers, and without. */
  readonly totalMs: number;
  readonly untimedMs: number;
  /** Multiply-adds: of all linear layers in one step, of attention in one step, of what all steps share. */
  readonly macs: { readonly linear: number; readonly attention: number; readonly shared: number };
  /** Calls and milliseconds of one step, by class and kernel. */
  readonly kernels: readonly {
    readonly class: KernelClass;
    readonly kernel: string;
    readonly calls: number;
    readonly ms: number;
  }[];
}

/** `host` is what no kernel took: JavaScript, and copies to and from the memory of the engine. */
export const KERNEL_CLASSES = [
  'linear',
  'attention product',
  'softmax',
  'attention layout',
  'quantize',
  'other rows',
  'host',
] as const;
export type KernelClass = (typeof KERNEL_CLASSES)[number];
/** The classes whose work is matrix products. */
export const PRODUCT_CLASSES: readonly KernelClass[] = ['linear', 'attention product'];

export type PartResult<P extends Part = Part> = P extends { readonly kind: 'profile' } ? ProfileResult : TimedResult;

/** The engine under a host, as it calls itself. */
export interface HostDescription {
  readonly name: string;
  readonly version: string;
  /** Kernel variants that run here, fastest first, and how the 8-bit linear reads its codes. */
  readonly variants: readonly string[];
  readonly form: string;
  /** It can start threads. */
  readonly threads?: boolean;
}
