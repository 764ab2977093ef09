/** For tests of the runtime that run in a page: what they use of `node:test`. They run one after another, when told. */
type Body = () => unknown;
interface Options {
  readonly skip?: string | boolean;
}

const tests: { readonly name: string; readonly body: Body }[] = [];
let path = '';

export function describe(name: string, options: Options | Body, body?: Body): void {
  const [{ skip }, run] = typeof options === 'function' ? [{} as Options, options] : [options, body!];
  if (skip) return;
  const outer = path;
  path = `${path}${name}: `;
  run();
  path = outer;
}

export function it(name: string, body: Body): void {
  tests.push({ name: path + name, body });
}

export interface PageTestReport {
  readonly passed: number;
  /** Names and errors. */
  readonly failed: readonly string[];
}

/** @param onDone is told the name of each */
export async function runTests(onDone: (name: string) => void): Promise<PageTestReport> {
  const failed: string[] = [];
  for (const { name, body } of tests) {
    try {
      await body();
    } catch (error) {
      failed.push(`${name}: ${error}`);
    }
    onDone(name);
  }
  return { passed: tests.length - failed.length, failed };
}
