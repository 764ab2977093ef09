/** A publishing process as its parent has it: started, told what to do, killed at an instant. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Task, Told } from './publishing-process.ts';

const PROGRAM = fileURLToPath(new URL('publishing-process.js', import.meta.url));

export type Outcome = Extract<Told, { done: unknown }> | Extract<Told, { failed: unknown }> | { readonly killed: true };

export class Publisher {
  readonly #child: ChildProcess;
  /** What it told last: where it was when it was killed. */
  lastStep = 'start';
  steps = 0;
  onStep: (steps: number, step: string) => void = () => {};

  private constructor(models: string) {
    this.#child = fork(PROGRAM, [models], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#child.on('message', (told: Told) => {
      if (!('step' in told)) return;
      this.lastStep = told.step;
      this.onStep(++this.steps, told.step);
    });
  }

  /** `models` is the place of the versioned models. */
  static async start(models: string): Promise<Publisher> {
    const publisher = new Publisher(models);
    const died = new Promise<never>((_, reject) => {
      publisher.#child.once('exit', (code) =>
        reject(new Error(`a publishing process ended with ${code} at its start`)),
      );
    });
    await Promise.race([publisher.#told('ready'), died]);
    return publisher;
  }

  /** Gives it the task; resolves when it is done, has failed, or was killed. */
  run(task: Task): Promise<Outcome> {
    this.lastStep = 'start';
    this.steps = 0;
    const ended = Promise.race([
      this.#told('done'),
      this.#told('failed'),
      new Promise<{ killed: true }>((resolve) => this.#child.once('exit', () => resolve({ killed: true }))),
    ]);
    this.#child.send(task);
    return ended as Promise<Outcome>;
  }

  held(): Promise<Told> {
    return this.#told('held');
  }

  go(): void {
    this.#child.send({ go: true } satisfies Task);
  }

  /** `kill -9`: it gets no chance to clean up. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.kill();
    await exited;
  }

  #told(what: string): Promise<Told> {
    return new Promise((resolve) => {
      const listen = (told: Told) => {
        if (!(what in told)) return;
        this.#child.off('message', listen);
        resolve(told);
      };
      this.#child.on('message', listen);
    });
  }
}
