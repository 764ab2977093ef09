/** The module that a worker of Node runs. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveThread, type ThreadStart } from '@edge-dit/wasm-kernels/threads/serve-thread';

serveThread(workerData as ThreadStart, () => parentPort!.postMessage('ready'));
