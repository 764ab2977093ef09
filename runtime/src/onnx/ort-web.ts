/**
 * `OnnxRuntime` by onnxruntime-web's plain WebAssembly build, one thread. onnxruntime is imported at the first
 * `load`. Its WebAssembly memory is one for the whole isolate and only ever grows, so it is counted by a meter from
 * then on, and `release` gives nothing back.
 */
import type { InferenceSession, Tensor } from 'onnxruntime-web/wasm';
import { EdgeDitError } from '../errors.ts';
import type { Meter } from '../meter.ts';
import type { OnnxRuntime, OnnxSession, OnnxTensor } from './onnx-runtime.ts';

type Ort = typeof import('onnxruntime-web/wasm');
type Instantiate = (source: BufferSource, imports: WebAssembly.Imports) => Promise<unknown>;

/** What differs between hosts: how onnxruntime finds its WebAssembly. */
export interface OrtHost {
  /** Called once, before the engine starts. */
  configure?(wasm: Ort['env']['wasm']): void;
  /** Replaces `WebAssembly.instantiate` for the engine's own module. */
  readonly instantiate?: Instantiate;
}

interface Engine {
  readonly ort: Ort;
  readonly memory: WebAssembly.Memory;
}

/** onnxruntime keeps its engine in module state: an isolate has one, whoever asked for it. */
let engine: Promise<Engine> | undefined;
/** Bytes of the engine that a meter has counted, whichever runtime did it. */
const countedBytes = new WeakMap<Meter, number>();

/** @param meter counts the engine's memory and, while a model is loaded, the model's bytes */
export function createOrtRuntime(host: OrtHost, meter?: Meter): OnnxRuntime {
  const count = ({ memory }: Engine) => {
    if (meter === undefined) return;
    const counted = countedBytes.get(meter) ?? 0;
    const now = memory.buffer.byteLength;
    countedBytes.set(meter, now);
    // It is there, whether it fits or not: what is not counted would be missing from the next decision.
    meter.record('onnxruntime memory', now - counted);
  };
  return {
    async load(model, name) {
      const giveBack = meter?.take(`bytes of ${name}`, model.byteLength);
      try {
        engine ??= startEngine(host);
        const started = await engine.catch((cause) => {
          engine = undefined;
          throw failed('onnxruntime could not start', cause);
        });
        const session = await create(started.ort, model, name);
        try {
          count(started);
        } catch (error) {
          await session.release();
          throw error;
        }
        return wrapSession(session, name, started.ort, () => count(started));
      } finally {
        giveBack?.();
      }
    },
  };
}

async function create(ort: Ort, model: Uint8Array, name: string): Promise<InferenceSession> {
  try {
    return await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
  } catch (cause) {
    throw failed(`${name} could not be loaded`, cause);
  }
}

function wrapSession(session: InferenceSession, name: string, ort: Ort, count: () => void): OnnxSession {
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    async run(feeds) {
      const inputs: Record<string, Tensor> = {};
      for (const [input, { type, data, dims }] of Object.entries(feeds))
        inputs[input] = new ort.Tensor(type, data, dims);
      let results: Record<string, Tensor>;
      try {
        results = (await session.run(inputs)) as Record<string, Tensor>;
      } catch (cause) {
        throw failed(`${name} could not be run`, cause);
      }
      count();
      return Object.fromEntries(
        Object.entries(results).map(([output, tensor]) => [output, copyOf(tensor, output, name)]),
      );
    },
    release: () => session.release(),
  };
}

function copyOf({ type, dims, data }: Tensor, output: string, name: string): OnnxTensor {
  if (type === 'float32') return { type, dims: [...dims], data: Float32Array.from(data as Float32Array) };
  if (type === 'int32') return { type, dims: [...dims], data: Int32Array.from(data as Int32Array) };
  if (type === 'int64') return { type, dims: [...dims], data: BigInt64Array.from(data as BigInt64Array) };
  throw failed(`${name} gives ${output} as ${type}; float32, int32 and int64 are read`);
}

/**
 * Imports onnxruntime and makes it instantiate its module, which it does when it first loads a model. Meanwhile
 * `WebAssembly.instantiate` is wrapped, to see the engine's memory and to let the host bring the module.
 */
async function startEngine(host: OrtHost): Promise<Engine> {
  const original = WebAssembly.instantiate;
  let memory: WebAssembly.Memory | undefined;
  const wrapped = (source: BufferSource, imports: WebAssembly.Imports) => {
    const own = sharedMemoryOf(imports);
    if (own === undefined) return original.call(WebAssembly, source, imports);
    memory = own;
    return (host.instantiate ?? original).call(WebAssembly, source, imports);
  };
  WebAssembly.instantiate = wrapped as typeof WebAssembly.instantiate;
  try {
    const ort = await import('onnxruntime-web/wasm');
    ort.env.wasm.numThreads = 1;
    host.configure?.(ort.env.wasm);
    // No model: refused, but only after the engine is up.
    const refusal: unknown = await ort.InferenceSession.create(new Uint8Array(1)).catch((error) => error);
    if (memory === undefined) throw refusal;
    return { ort, memory };
  } finally {
    WebAssembly.instantiate = original;
  }
}

/** onnxruntime's build for threads is the one module here that imports a shared memory. */
function sharedMemoryOf(imports: WebAssembly.Imports | undefined): WebAssembly.Memory | undefined {
  for (const values of Object.values(imports ?? {})) {
    for (const value of Object.values(values)) {
      if (!(value instanceof WebAssembly.Memory)) continue;
      if (Object.prototype.toString.call(value.buffer) === '[object SharedArrayBuffer]') return value;
    }
  }
  return undefined;
}

function failed(what: string, cause?: unknown): EdgeDitError {
  const reason = cause === undefined ? '' : `: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new EdgeDitError('onnx-failed', `${what}${reason}.`, { cause });
}
