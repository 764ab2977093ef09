/**
 * A model in a browser: addresses of gateways in, a pipeline out, whose shards come from the nearest gateway, are verified and
 * are kept in the browser's private file system. Where there is none (a page over plain http), it goes without.
 */
import { Meter } from '@edge-dit/runtime/meter';
import { createOrtRuntime } from '@edge-dit/runtime/onnx/ort-web';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { cached } from '@edge-dit/runtime/stores/cached';
import { GatewayStore } from '@edge-dit/runtime/stores/gateway';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { openOpfsCache } from '@edge-dit/runtime/stores/opfs';
import type { Store } from '@edge-dit/runtime/stores/store';
import { type KernelModules, supportedVariants } from '@edge-dit/wasm-kernels';

export interface BrowserPipelineOptions {
  readonly model: string;
  /** Addresses of gateways; the nearest is taken. */
  readonly near: readonly string[];
  /** Of a public bucket, for when no gateway answers. */
  readonly last?: string;
  /** Bytes; phones give a page less than computers do. */
  readonly budget: number;
}

export interface BrowserPipeline {
  readonly pipeline: Pipeline;
  /** Deletes what older versions of models left in the browser. */
  tidy(): Promise<void>;
}

export async function openBrowserPipeline(options: BrowserPipelineOptions): Promise<BrowserPipeline> {
  const { model, near, last, budget } = options;
  const origins = new GatewayStore(
    near.map((address) => new HttpStore(address)),
    { last: last === undefined ? undefined : new HttpStore(last) },
  );
  const cache = isSecureContext ? await openOpfsCache() : undefined;
  const onError = (error: unknown) => console.warn('the cache in this browser:', error);
  const store: Store = cache === undefined ? origins : cached(origins, cache, { onError });
  const onnxruntime = async () => bytesOf('/onnxruntime.wasm');
  let wasmBinary: ArrayBuffer | undefined;
  const pipeline = await Pipeline.open({
    store,
    model,
    kernels: await fetchKernels(),
    meter: new Meter(budget),
    onnx: () => {
      const runtime = createOrtRuntime({
        configure: (wasm) => {
          wasm.wasmBinary = wasmBinary;
        },
      });
      return {
        load: async (bytes, name) => {
          wasmBinary ??= await onnxruntime();
          return runtime.load(bytes, name);
        },
      };
    },
  });
  const { shards, files } = pipeline.manifest;
  const keys = [...shards, ...files.flatMap(({ parts }) => parts)].map(({ sha256 }) => `shards/${sha256}`);
  return { pipeline, tidy: async () => cache?.retain(keys) };
}

async function fetchKernels(): Promise<KernelModules> {
  const compiled = async (name: string) => WebAssembly.compile(await bytesOf(`/kernels.${name}.wasm`));
  const variants = supportedVariants().map(async (variant) => [variant, await compiled(variant)] as const);
  return { float: await compiled('float'), ...Object.fromEntries(await Promise.all(variants)) };
}

async function bytesOf(path: string): Promise<ArrayBuffer> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`GET ${path}: ${response.status}`);
  return response.arrayBuffer();
}
