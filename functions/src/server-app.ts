/**
 * The endpoint for servers: Node, Deno and Lambda, from the variables of their process. Kernels are assembled and compiled at
 * start; onnxruntime is imported, and its WebAssembly read, when the first prompt is encoded.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { createWorkerdOrtRuntime } from '@edge-dit/runtime/onnx/ort-workerd';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import type { Store } from '@edge-dit/runtime/stores/store';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { configured, type EndpointEnvironment, endpointSettings } from './environment.ts';
import { ModelHost } from './model-host.ts';
import { openServerEndpoint, type ServerEndpoint } from './server-endpoint.ts';

export interface ServerEnvironment extends EndpointEnvironment {
  /** Where the models are: a folder, `s3://bucket/prefix`, or the address of a published store. */
  readonly SHARDS_URL?: string;
  /** A folder that keeps jobs, so that they survive the process. In memory without it. */
  readonly JOBS_FOLDER?: string;
  /** Of S3: its endpoint, region and keys. */
  readonly [name: string]: string | undefined;
}

/** @param jobs whether the process runs between requests. @throws EdgeDitError `invalid-argument` naming the variable */
export async function openServerApp(given: ServerEnvironment, { jobs = true } = {}): Promise<ServerEndpoint> {
  const env = configured(given);
  const { models: names, memoryLimit, trust, ...settings } = endpointSettings(env);
  const models = new ModelHost({
    models: names,
    meter: new Meter(memoryLimit),
    pipeline: {
      store: await storeAt(env),
      trust,
      kernels: await compileKernels(),
      onnx: (meter) =>
        createWorkerdOrtRuntime(
          async () => (await import('onnxruntime-web/ort-wasm-simd-threaded.wasm')).default,
          meter,
        ),
    },
  });
  return openServerEndpoint({ models, ...settings, keepsJobs: jobs, jobsFolder: env.JOBS_FOLDER });
}

async function storeAt(env: ServerEnvironment): Promise<Store> {
  const place = env.SHARDS_URL;
  if (!place) {
    const forms = 'a folder, s3://bucket/prefix, or the address of a published store';
    throw new EdgeDitError('invalid-argument', `set SHARDS_URL to where the models are: ${forms}.`);
  }
  if (/^https?:/i.test(place)) return new HttpStore(place);
  // The SDK is ten times the endpoint: a module of its own, read only by who needs it.
  if (/^s3:/i.test(place)) return (await import('@edge-dit/runtime/stores/s3')).s3StoreAt(place, env);
  return new FsStore(place);
}
