/** What the server tells the page, as `/page.json`. Addresses are relative to the page. */
export interface PageSettings {
  readonly model: string;
  /** Of gateways beside the page's own server, which comes last of them only by latency. */
  readonly near: readonly string[];
  /** Of a public bucket. */
  readonly last?: string;
  /** Embeds prompts, and draws where this device does not. */
  readonly endpoint: string;
  /** Milliseconds without a sign of life after which the next place is asked. */
  readonly patienceMs: { readonly device: number; readonly endpoint: number };
}
