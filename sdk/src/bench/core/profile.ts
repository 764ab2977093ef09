/**
 * Where the time of a step goes. The kernels of an engine are wrapped in timers, and its operations in counters of
 * multiply-adds. A clock of 1 ms is enough: what it misses of one call it adds to another, and calls are many.
 */
import { type Engine, type Linear, matrixOf, type Operand } from '@edge-dit/runtime/engines/engine';
import type { Kernels } from '@edge-dit/wasm-kernels';
import type { BenchHost } from './bench-host.ts';
import { openVariant, openWrapped } from './engines.ts';
import type { KernelClass, Part, ProfileResult } from './parts.ts';
import { loadPublished } from './step.ts';
import { stepInputs } from './step-inputs.ts';

type ProfilePart = Extract<Part, { kind: 'profile' }>;

export async function runProfile(host: BenchHost, { model, work, steps }: ProfilePart): Promise<ProfileResult> {
  const timers = new KernelTimers();
  const engine = openWrapped(host, (kernels) => timers.wrap(kernels));
  timers.watch(engine);
  const untimed = await openVariant(host);
  const watched = await prepare(engine);
  const shared = timers.linearMacs;
  const plain = await prepare(untimed);
  for (const forward of [watched, plain]) await forward();
  timers.reset();
  let [totalMs, untimedMs] = [0, 0];
  for (let step = 0; step < steps; step++) {
    totalMs += await timed(watched);
    untimedMs += await timed(plain);
  }
  const kernels = timers.entries().map((entry) => ({ ...entry, calls: entry.calls / steps, ms: entry.ms / steps }));
  const inKernels = kernels.reduce((sum, { ms }) => sum + ms, 0);
  kernels.push({ class: 'host', kernel: '', calls: 0, ms: Math.max(0, totalMs / steps - inKernels) });
  return {
    engine: engine.name,
    steps,
    totalMs: totalMs / steps,
    untimedMs: untimedMs / steps,
    macs: { linear: timers.linearMacs / steps, attention: timers.attentionMacs / steps, shared },
    kernels,
  };

  async function prepare(used: Engine): Promise<() => Promise<unknown>> {
    const { architecture, transformer } = await loadPublished(model, used);
    const { sample, timesteps, conditions } = stepInputs(architecture.geometry, work);
    const session = transformer.begin(conditions);
    return () => session.forward(sample, timesteps);
  }
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

class KernelTimers {
  linearMacs = 0;
  attentionMacs = 0;
  readonly #spent = new Map<string, { class: KernelClass; kernel: string; calls: number; ms: number }>();
  #inAttention = false;

  reset(): void {
    this.linearMacs = 0;
    this.attentionMacs = 0;
    this.#spent.clear();
  }

  entries() {
    return [...this.#spent.values()].sort((a, b) => b.ms - a.ms);
  }

  wrap(kernels: Kernels): Kernels {
    const wrapped: Record<string, unknown> = { ...kernels };
    for (const [name, kernel] of Object.entries(kernels)) {
      if (typeof kernel === 'function') wrapped[name] = this.#timer(name, kernel as Kernel);
    }
    return wrapped as unknown as Kernels;
  }

  /** Counts the work of an engine's operations, and notes when it is in attention. */
  watch(engine: Engine): void {
    const { apply, applyInto, attention } = engine;
    const count = ({ source }: Operand, { inFeatures, outFeatures }: Linear) => {
      this.linearMacs += matrixOf(source).rows * inFeatures * outFeatures;
    };
    engine.apply = (linear, operand) => {
      count(operand, linear);
      return apply.call(engine, linear, operand);
    };
    engine.applyInto = (x, linear, operand, gate) => {
      count(operand, linear);
      applyInto.call(engine, x, linear, operand, gate);
    };
    engine.attention = (q, k, v, options) => {
      const { rows, channels } = matrixOf(q);
      this.attentionMacs += 2 * rows * k.shape[1] * channels;
      this.#inAttention = true;
      try {
        return attention.call(engine, q, k, v, options);
      } finally {
        this.#inAttention = false;
      }
    };
  }

  #timer(name: string, kernel: Kernel): Kernel {
    return (...args) => {
      const start = performance.now();
      kernel(...args);
      const ms = performance.now() - start;
      const of = classOf(name, this.#inAttention);
      const key = `${of} ${name}`;
      const entry = this.#spent.get(key) ?? { class: of, kernel: name, calls: 0, ms: 0 };
      this.#spent.set(key, entry);
      entry.calls++;
      entry.ms += ms;
    };
  }
}

type Kernel = (...args: number[]) => void;

function classOf(kernel: string, inAttention: boolean): KernelClass {
  if (kernel === 'softmax_block') return 'softmax';
  const moves = /transpose|pack|quantize/.test(kernel);
  if (inAttention) return moves ? 'attention layout' : 'attention product';
  if (/^(linear|gemm|unpack|float)/.test(kernel)) return 'linear';
  return kernel.includes('quantize') ? 'quantize' : 'other rows';
}
