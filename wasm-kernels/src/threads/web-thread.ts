/** The module that a browser's worker runs. Its first message is what `serveThread` needs. */
import { serveThread, type ThreadStart } from './serve-thread.ts';

self.onmessage = ({ data }: MessageEvent<ThreadStart>) => serveThread(data, () => self.postMessage('ready'));
