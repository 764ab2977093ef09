/** The far side of a thread: the same kernels over the same memory, and chunks until it is told to stop. */
import { type CodeForm, exportsOf, type KernelExports, linearOfForm } from '../load.ts';
import { Control } from './control.ts';

/** What a thread is given; hosts can send all of it to a worker. */
export interface ThreadStart {
  readonly modules: readonly WebAssembly.Module[];
  readonly memory: WebAssembly.Memory;
  readonly control: SharedArrayBuffer;
  /** Names of kernels, by the number under which calls come. */
  readonly kernels: readonly string[];
  /** How this engine's `linear_u8` reads codes: found out once, because finding out writes to the memory. */
  readonly form: CodeForm;
  /** Address of this thread's own scratch. */
  readonly scratch: number;
}

type Kernel = (...args: number[]) => void;

/** Blocks its thread until the control says stop. @param ready called when the kernels are there */
export function serveThread(start: ThreadStart, ready: () => void): void {
  const control = new Control(start.control);
  const exported = exportsOf(start.modules, start.memory);
  const all = { ...exported, linear_u8: linearOfForm(exported, start.form) };
  const kernels = start.kernels.map((name) => all[name as keyof KernelExports] as Kernel);
  ready();
  while (!control.stopped) {
    const claim = control.claim();
    if (claim === undefined) {
      control.idle();
      continue;
    }
    const args = control.argumentsOf(claim);
    if (claim.scratchIndex >= 0) args[claim.scratchIndex] = start.scratch;
    try {
      kernels[claim.kernel](...args);
    } catch (error) {
      control.fail(`${start.kernels[claim.kernel]}: ${error}`);
    }
    control.finish();
  }
}
