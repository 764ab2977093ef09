/** One picture as it is. Its seed is in the headers, beside what the caller adds. */
export function pngResponse(png: Uint8Array, seed: number, headers: Readonly<Record<string, string>>): Response {
  return new Response(png as Uint8Array<ArrayBuffer>, {
    headers: {
      ...headers,
      'content-type': 'image/png',
      'content-length': String(png.length),
      'x-seed': String(seed),
    },
  });
}
