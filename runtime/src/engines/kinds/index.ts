/** The list of kinds of engines, in the order in which they are preferred. To add one: its file and its line. */
import type { EngineKind } from './kind.ts';
import { wasmRelaxed, wasmSimd } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const engineKinds: readonly EngineKind[] = [webgpu, wasmRelaxed, wasmSimd];
