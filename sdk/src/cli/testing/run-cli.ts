/** Runs the real `edge-dit` in a process of its own, as a shell does, and checks how it ended. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const BINARY = fileURLToPath(new URL('../../../bin/edge-dit.js', import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCli {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Resolves when the output so far matches; rejects when the process ends before. */
  shows(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<RegExpExecArray>;
}

/** `env` comes on top of the environment of this process. */
export function startCli(args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}): RunningCli {
  const child = spawn(process.execPath, [BINARY, ...args], {
    cwd,
    // What is kept between commands stays among the test's files.
    env: { ...process.env, XDG_CACHE_HOME: join(cwd, '.cache'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const seen = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      seen[name] += text;
    });
  }
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...seen }));
  });
  const shows: RunningCli['shows'] = (stream, pattern) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(seen[stream]);
        if (match) resolve(match);
      };
      child[stream].on('data', look);
      look();
      finished.then(({ stdout, stderr }) => reject(new Error(`ended without ${pattern}: ${stdout}${stderr}`)), reject);
    });
  return { process: child, finished, shows };
}

export function runCli(
  args: readonly string[],
  cwd: string,
  env?: Readonly<Record<string, string>>,
): Promise<Finished> {
  return startCli(args, cwd, env).finished;
}

/** Exit code 0, and the document of a command that was given --json. */
export function documentOf<T = Record<string, unknown>>({ code, stdout, stderr }: Finished): T {
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '', 'with --json nothing is said beside the document');
  return JSON.parse(stdout);
}

/** It said what was wrong, and nothing else. */
export function refused({ code, stdout, stderr }: Finished, exitCode: number, message: RegExp): void {
  assert.equal(code, exitCode, stderr);
  assert.match(stderr, message);
  assert.doesNotMatch(stderr, /\n\s+at /, 'no stack');
  assert.equal(stdout, '');
}
