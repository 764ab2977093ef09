/** Endpoints whose process can be killed as a crash would do it, without a word, and started again over the same jobs. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { WebhookSettings } from '@edge-dit/functions/jobs/webhooks';
import type { Limits } from '@edge-dit/functions/limits';
import type { ApiKey } from '@edge-dit/functions/protection/api-keys';
import { serveWorkerd } from '@edge-dit/functions/serve-workerd';
import { FsStore } from '@edge-dit/runtime/stores/fs';

export interface ServingSettings {
  readonly storeFolder: string;
  readonly models: readonly string[];
  readonly jobsFolder?: string;
  readonly limits?: Partial<Limits>;
  readonly webhooks?: WebhookSettings;
  readonly keys?: readonly ApiKey[];
  readonly memoryLimitMb?: number;
  readonly logLevel?: 'error';
}

export interface KillableServer {
  readonly url: string;
  /** Of the process that computes. */
  readonly pid: number;
  /** SIGKILL; returns when the process is gone. */
  kill(): Promise<void>;
}

export const killableServers: Readonly<Record<string, (settings: ServingSettings) => Promise<KillableServer>>> = {
  node: async (settings) => {
    const program = fileURLToPath(new URL('serving-process.js', import.meta.url));
    const child: ChildProcess = fork(program, [JSON.stringify(settings)], { stdio: 'inherit' });
    const [{ url }] = (await once(child, 'message')) as [{ url: string }];
    const kill = async () => {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    };
    return { url, pid: child.pid!, kill };
  },

  // Miniflare, which only starts it, lives on in this process.
  workerd: async ({ storeFolder, models, ...options }) => {
    const before = childrenNamed('workerd');
    const served = await serveWorkerd({ store: new FsStore(storeFolder), models, ...options });
    const [pid] = childrenNamed('workerd').filter((child) => !before.includes(child));
    const kill = async () => {
      process.kill(pid, 'SIGKILL');
      await served.close();
    };
    return { url: served.url, pid, kill };
  },
};

/** Children of this process, by what Linux tells of them. */
function childrenNamed(name: string): number[] {
  const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8');
  return children
    .split(' ')
    .filter((pid) => pid !== '' && readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name)
    .map(Number);
}
