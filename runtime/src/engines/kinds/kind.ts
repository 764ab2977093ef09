/** A kind of engine: one way of computing that a host may have. `choose-engine.ts` asks each of the list for an engine. */
import type { KernelModules } from '@edge-dit/wasm-kernels';
import type { Meter } from '../../meter.ts';
import type { ThreadsChoice } from '../open-threaded-wasm.ts';
import type { OpenedEngine } from '../open-wasm.ts';

/** What a host has, beside itself. */
export interface EngineHost {
  /** Compiled for one thread. */
  readonly kernels: KernelModules;
  readonly meter: Meter;
  /** Where the host has threads: how many, how to start one, and the kernels compiled for them. */
  readonly threads?: ThreadsChoice & { readonly kernels: () => Promise<KernelModules> };
  /** Default: what browsers and Deno have as `navigator.gpu`. */
  readonly gpu?: GPU;
}

export interface EngineKind {
  readonly name: string;
  readonly summary: string;
  /**
   * An engine that has passed its self-test.
   * @throws EdgeDitError `engine-unavailable` that says why there is none
   */
  open(host: EngineHost): Promise<OpenedEngine>;
}
