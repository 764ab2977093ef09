/** The far side of `workerd.ts`: a worker. Its clock advances while it computes, in steps of 1 ms; Cloudflare's does not. */
import { createWorkerdOrtRuntime } from '@edge-dit/runtime/onnx/ort-workerd';
import relaxedCeiling from '@edge-dit/wasm-kernels/bench/ceiling.relaxed.wasm';
import simdCeiling from '@edge-dit/wasm-kernels/bench/ceiling.simd.wasm';
import float from '@edge-dit/wasm-kernels/kernels.float.wasm';
import relaxed from '@edge-dit/wasm-kernels/kernels.relaxed.wasm';
import simd from '@edge-dit/wasm-kernels/kernels.simd.wasm';
import { describeHost, runPart } from '../core/run-part.ts';
import { answerOf, type HostRequest } from './host.ts';

/** Set by the bundler. */
declare const WORKERD_VERSION: string;

const host = {
  kernels: { float, simd, relaxed },
  ceilings: { simd: simdCeiling, relaxed: relaxedCeiling },
  onnx: createWorkerdOrtRuntime(async () => (await import('onnxruntime-web/ort-wasm-simd-threaded.wasm')).default),
};

export default {
  async fetch(request: Request): Promise<Response> {
    const asked = (await request.json()) as HostRequest;
    return Response.json(
      await answerOf(async () =>
        'part' in asked ? runPart(host, asked.part) : describeHost(host, 'workerd', WORKERD_VERSION),
      ),
    );
  },
};
