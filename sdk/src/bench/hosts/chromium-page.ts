/** The far side of `chromium.ts`: a page that asks for parts until it is closed. */
import { createOrtRuntime } from '@edge-dit/runtime/onnx/ort-web';
import { supportedVariants } from '@edge-dit/wasm-kernels';
import type { BenchHost } from '../core/bench-host.ts';
import { describeHost, runPart } from '../core/run-part.ts';
import { answerOf, type HostAnswer, type HostRequest } from './host.ts';

async function bytesOf(path: string): Promise<ArrayBuffer> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.arrayBuffer();
}

const compiled = async (path: string) => WebAssembly.compile(await bytesOf(path));

async function modulesOf(kind: 'kernels' | 'ceiling') {
  const modules = supportedVariants().map(
    async (variant) => [variant, await compiled(`/${kind}.${variant}.wasm`)] as const,
  );
  return Object.fromEntries(await Promise.all(modules));
}

async function openPage(): Promise<BenchHost> {
  const onnxruntime = await bytesOf('/onnxruntime.wasm');
  return {
    kernels: { float: await compiled('/kernels.float.wasm'), ...(await modulesOf('kernels')) },
    ceilings: await modulesOf('ceiling'),
    onnx: createOrtRuntime({
      configure: (wasm) => {
        wasm.wasmBinary = onnxruntime;
      },
    }),
  };
}

const version = /Chrome\/([\d.]+)/.exec(navigator.userAgent)?.[1] ?? 'unknown';
const opening = openPage();

async function answer(request: HostRequest): Promise<HostAnswer> {
  return answerOf(async () => {
    const host = await opening;
    return 'part' in request ? runPart(host, request.part) : describeHost(host, 'Chromium', version);
  });
}

for (;;) {
  const response = await fetch('/next');
  if (response.status === 204) continue;
  const body = JSON.stringify(await answer((await response.json()) as HostRequest));
  await fetch('/answer', { method: 'POST', body });
}
