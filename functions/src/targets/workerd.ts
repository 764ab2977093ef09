/** The worker of `cloudflare-workers.ts`, as built for Cloudflare, in workerd on this machine. */
import { serveWorkerd } from '../serve-workerd.ts';
import type { Target } from './target.ts';

export const workerd: Target = {
  name: 'workerd',
  summary: "the worker for Cloudflare, in Cloudflare's runtime on this machine",
  serve: serveWorkerd,
};
