/** What of the modules of Cloudflare's runtime is used here. */
declare module 'cloudflare:workers' {
  /** A base class: its instances live each in one place, with a storage of their own. */
  export abstract class DurableObject<Env> {
    protected readonly ctx: { readonly storage: import('./jobs/durable-job-store.ts').DurableStorage };
    protected readonly env: Env;
    constructor(ctx: unknown, env: Env);
  }
}
