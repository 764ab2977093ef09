/** The OpenAPI document with the limits of this endpoint: the one that is checked in has the limits by default. */
import type { Limits } from '../limits.ts';

interface Document {
  readonly components: {
    readonly schemas: Readonly<
      Record<'GenerateRequest' | 'EmbedRequest', { readonly properties: Record<string, Record<string, unknown>> }>
    >;
  };
}

/** Fields of a request, by what limits them. */
const MOST = {
  prompt: ['maxLength', 'promptChars'],
  negative_prompt: ['maxLength', 'promptChars'],
  steps: ['maximum', 'steps'],
  width: ['maximum', 'side'],
  height: ['maximum', 'side'],
  n: ['maximum', 'pictures'],
} as const satisfies Record<string, readonly [string, keyof Limits]>;

export async function openApiFor(limits: Limits): Promise<Document> {
  // In a chunk of its own: most isolates are never asked.
  const { default: checkedIn } = await import('./openapi.json', { with: { type: 'json' } });
  const document = structuredClone(checkedIn) as unknown as Document;
  const { GenerateRequest, EmbedRequest } = document.components.schemas;
  for (const { properties } of [GenerateRequest, EmbedRequest]) {
    for (const [field, [keyword, limit]] of Object.entries(MOST)) {
      if (properties[field]) properties[field][keyword] = limits[limit];
    }
  }
  return document;
}
