/** The kind that computes on a GPU, through WebGPU. */
import { openWebGpuEngine } from '../open-webgpu.ts';
import type { EngineKind } from './kind.ts';

export const webgpu: EngineKind = {
  name: 'webgpu',
  summary: 'the GPU, through WebGPU',
  open: ({ meter, gpu }) => openWebGpuEngine(meter, { gpu }),
};
