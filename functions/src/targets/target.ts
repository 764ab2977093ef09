/** A target: somewhere the endpoint runs. It is given a store and serves its models until it is closed. */
import type { Store } from '@edge-dit/runtime/stores/store';
import type { TrustPolicy } from '@edge-dit/runtime/trust';
import type { Limits } from '../limits.ts';
import type { ListenOptions, Served } from '../listen.ts';

export interface ServeOptions extends ListenOptions {
  readonly store: Store;
  /** Names of models in the store; the first is the default. */
  readonly models: readonly string[];
  /** Whose signatures of manifests are accepted. Without it none is looked at. */
  readonly trust?: TrustPolicy;
  readonly limits?: Partial<Limits>;
  /** MiB for everything that the runtime holds. Default 128, as on Cloudflare. */
  readonly memoryLimitMb?: number;
}

export interface Target {
  readonly name: string;
  readonly summary: string;
  serve(options: ServeOptions): Promise<Served>;
}
