/**
 * The wasm engine on several threads: the same engine and the same bits, each call of a kernel shared among workers over
 * one memory. In: how the host starts a worker. Modules must be those of `compileKernels({ shared: true })`.
 *
 * A host without shared memory raises `engine-unavailable`, as does an engine whose workers are lost.
 */
import { instantiateKernels } from '@edge-dit/wasm-kernels';
import { openThreads, type SpawnThread, THREAD_SCRATCH_BYTES } from '@edge-dit/wasm-kernels/threads/threaded-kernels';
import { EdgeDitError } from '../errors.ts';
import { type OpenEngine, openFastest } from './open-wasm.ts';
import { WasmMemory } from './wasm-memory.ts';

const MAX_THREADS = 16;

export interface ThreadsChoice {
  /** The calling thread included: 2 to 16. */
  readonly threads: number;
  readonly spawn: SpawnThread;
}

/**
 * For `PipelineOptions.openEngine`.
 * @throws `invalid-argument` for a number of threads that it cannot have
 */
export function threadedEngine({ threads, spawn }: ThreadsChoice): OpenEngine {
  if (!Number.isInteger(threads) || threads < 2 || threads > MAX_THREADS) {
    throw new EdgeDitError('invalid-argument', `threads ${threads} is not an integer from 2 to ${MAX_THREADS}.`);
  }
  const failure = (message: string) => new EdgeDitError('engine-unavailable', message);
  return async (modules, meter, only) => {
    if (typeof SharedArrayBuffer === 'undefined') {
      throw failure(
        'this host does not share memory among threads; a page needs COOP and COEP headers. Use one thread.',
      );
    }
    return openFastest(modules, only, async (float, linear, variant) => {
      const memory = new WasmMemory(meter, true);
      try {
        const kernels = instantiateKernels(float, linear, memory.memory, variant);
        const scratch = Array.from({ length: threads - 1 }, () => memory.allocate(THREAD_SCRATCH_BYTES));
        const options = { modules: [float, linear], memory: memory.memory, scratch, spawn, failure };
        return { memory, ...(await openThreads(kernels, options)) };
      } catch (cause) {
        memory.dispose();
        if (!(cause instanceof WebAssembly.LinkError)) throw cause;
        const message =
          'kernels: these modules are for one thread; compile them with compileKernels({ shared: true }).';
        throw new EdgeDitError('invalid-argument', message, { cause });
      }
    });
  };
}
