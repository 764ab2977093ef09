/** A place where the measuring code runs. In: parts, one at a time. Out: their results. */
import type { HostDescription, Part, PartResult } from '../core/parts.ts';

export interface OpenHost {
  readonly description: HostDescription;
  /** Raises what the part raised there, as an error with its message. */
  run<P extends Part>(part: P): Promise<PartResult<P>>;
  close(): Promise<void>;
}

export interface HostKind {
  readonly name: string;
  /** @throws HostAbsent where this machine does not have it */
  open(): Promise<OpenHost>;
}

/** This machine lacks a host; the benchmark says so and goes on. */
export class HostAbsent extends Error {
  override readonly name = 'HostAbsent';
}

export type HostRequest = { readonly describe: true } | { readonly part: Part };
export type HostAnswer = { readonly result: unknown } | { readonly error: string };

/** What the far side does with a request: everything that is raised there becomes an answer. */
export async function answerOf(work: () => Promise<unknown>): Promise<HostAnswer> {
  try {
    return { result: await work() };
  } catch (error) {
    return { error: error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error) };
  }
}

/** A host from the way in which it is asked. */
export async function openHost(
  name: string,
  ask: (request: HostRequest) => Promise<HostAnswer>,
  close: () => Promise<void>,
): Promise<OpenHost> {
  const result = async (request: HostRequest) => {
    const answer = await ask(request);
    if ('error' in answer) throw new Error(`benchmark in ${name}: ${answer.error}`);
    return answer.result;
  };
  try {
    const description = (await result({ describe: true })) as HostDescription;
    return {
      description,
      run: async <P extends Part>(part: P) => (await result({ part })) as PartResult<P>,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
