/** The two kinds that compute in WebAssembly: on as many threads as the host has, on one where they cannot be had. */
import type { Variant } from '@edge-dit/wasm-kernels';
import { isEdgeDitError } from '../../errors.ts';
import { threadedEngine } from '../open-threaded-wasm.ts';
import { type OpenedEngine, openWasmEngine } from '../open-wasm.ts';
import type { EngineHost, EngineKind } from './kind.ts';

async function open({ kernels, meter, threads }: EngineHost, variant: Variant): Promise<OpenedEngine> {
  const notes: string[] = [];
  if (threads !== undefined) {
    try {
      const opened = await threadedEngine(threads)(await threads.kernels(), meter, variant);
      return { ...opened, notes: [`${threads.threads} threads`, ...opened.notes] };
    } catch (error) {
      if (!isEdgeDitError(error, 'engine-unavailable')) throw error;
      notes.push(`one thread: ${error.message}`);
    }
  }
  const opened = await openWasmEngine(kernels, meter, variant);
  return { ...opened, notes: [...notes, ...opened.notes] };
}

export const wasmRelaxed: EngineKind = {
  name: 'wasm-relaxed',
  summary: 'WebAssembly with relaxed SIMD: int8 dot products of four',
  open: (host) => open(host, 'relaxed'),
};

export const wasmSimd: EngineKind = {
  name: 'wasm-simd',
  summary: 'WebAssembly with SIMD: int16 dot products of two, in every browser since 2023',
  open: (host) => open(host, 'simd'),
};
