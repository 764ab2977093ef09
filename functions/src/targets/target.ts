/** A target: somewhere the endpoint runs. It is given a store and serves its models until it is closed. */
import type { Store } from '@edge-dit/runtime/stores/store';
import type { TrustPolicy } from '@edge-dit/runtime/trust';
import type { WebhookSettings } from '../jobs/webhooks.ts';
import type { Limits } from '../limits.ts';
import type { ListenOptions, Served } from '../listen.ts';
import type { LogEntry } from '../observe/log.ts';
import type { ApiKey } from '../protection/api-keys.ts';

export interface ServeOptions extends ListenOptions {
  readonly store: Store;
  /** Names of models in the store; the first is the default. */
  readonly models: readonly string[];
  /** Whose signatures of manifests are accepted. Without it none is looked at. */
  readonly trust?: TrustPolicy;
  readonly limits?: Partial<Limits>;
  /** Keys that may ask, by their SHA-256. Without them everybody may. */
  readonly keys?: readonly ApiKey[];
  /** Origins of pages that may ask, or `*`. */
  readonly cors?: readonly string[] | '*';
  readonly webhooks?: WebhookSettings;
  /** Keeps jobs there, so that they survive this process. In memory without it. */
  readonly jobsFolder?: string;
  /** The least that is logged. Default `warn`. */
  readonly logLevel?: LogEntry['level'];
  /** MiB for everything that the runtime holds. Default 128, as on Cloudflare. */
  readonly memoryLimitMb?: number;
}

export interface Target {
  readonly name: string;
  readonly summary: string;
  serve(options: ServeOptions): Promise<Served>;
}
