/** Threads in browsers, on pages that are isolated from other origins (COOP and COEP): module workers. */
import type { SpawnThread } from './threaded-kernels.ts';

export const spawnWebThread: SpawnThread = (start) => {
  const worker = new Worker(new URL('./web-thread.js', import.meta.url), { type: 'module', name: 'edge-dit' });
  let end: (reason: string) => void;
  const ended = new Promise<string>((resolve) => {
    end = resolve;
  });
  const ready = new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onmessageerror = () => reject(new Error('the page may not share memory; it needs COOP and COEP headers'));
    worker.onerror = ({ message }) => {
      reject(new Error(message || 'its module could not be loaded'));
      end(message);
    };
  });
  worker.postMessage(start);
  return { ready, ended, terminate: () => worker.terminate() };
};
