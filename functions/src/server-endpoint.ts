/** The endpoint of a process that lives on between requests: its app, and the jobs that it runs beside them. */
import { type AppOptions, createApp, createEndpoint } from './app.ts';
import { FileJobStore } from './jobs/file-job-store.ts';
import { JobRunner } from './jobs/job-runner.ts';
import { MemoryJobStore } from './jobs/memory-job-store.ts';
import type { WebhookSettings } from './jobs/webhooks.ts';

export interface ServerEndpointOptions extends Pick<AppOptions, 'models' | 'limits' | 'keys' | 'cors' | 'log'> {
  readonly webhooks?: WebhookSettings;
  /** Default true: for processes that run between requests. */
  readonly keepsJobs?: boolean;
  /** Keeps jobs there, so that they survive the process. In memory without it. */
  readonly jobsFolder?: string;
}

export interface ServerEndpoint {
  fetch(request: Request): Response | Promise<Response>;
  /** After the requests under way. Jobs go on when the next process opens the same folder. */
  close(): Promise<void>;
}

/** Takes up the jobs of the folder. @throws EdgeDitError `invalid-argument` for a folder that another process has */
export async function openServerEndpoint(options: ServerEndpointOptions): Promise<ServerEndpoint> {
  const { models, webhooks, jobsFolder, keepsJobs = true, keys, cors } = options;
  const endpoint = createEndpoint(options);
  const files = jobsFolder === undefined ? undefined : await FileJobStore.open(jobsFolder);
  const store = files ?? new MemoryJobStore();
  const jobs = keepsJobs ? await JobRunner.start({ store, endpoint, webhooks }) : undefined;
  const app = createApp({ models, endpoint, jobs, keys, cors, webhooks: Object.keys(webhooks?.addresses ?? {}) });
  return {
    fetch: (request) => app.fetch(request),
    async close() {
      await jobs?.stop();
      await files?.close();
      await models.close();
    },
  };
}
