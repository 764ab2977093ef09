/** What `emit-page.ts` makes. */
export const html: string;
/** Content-Security-Policy of the page. */
export const policy: string;
