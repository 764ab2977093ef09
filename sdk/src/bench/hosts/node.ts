/** Node as a host: a process of its own, of this version of Node or of another one on this machine. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { HostAbsent, type HostAnswer, type HostKind, openHost } from './host.ts';

/** @param executable a `node`; the one that runs this without it */
export function nodeHost(executable: string = process.execPath): HostKind {
  const name = executable === process.execPath ? 'node' : `node (${executable})`;
  return {
    name,
    async open() {
      const child = fork(fileURLToPath(new URL('node-child.js', import.meta.url)), {
        execPath: executable,
        execArgv: [],
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      });
      let settle: { resolve(answer: HostAnswer): void; reject(error: Error): void } | undefined;
      let over: Error | undefined;
      const end = (error: Error) => {
        over = error;
        settle?.reject(error);
      };
      child.on('error', (cause) => end(new HostAbsent(`${executable} cannot be started: ${cause.message}`)));
      child.on('exit', (code, signal) => end(new Error(`${name} ended early (${signal ?? code})`)));
      child.on('message', (answer: HostAnswer) => settle?.resolve(answer));
      return openHost(
        name,
        (request) =>
          new Promise((resolve, reject) => {
            if (over) return reject(over);
            settle = { resolve, reject };
            child.send(request);
          }),
        async () => {
          child.disconnect();
          child.kill();
        },
      );
    },
  };
}
