/** `GET /`: the playground. Its page is a module of its own, which an isolate loads when somebody first asks for it. */

export async function playground(): Promise<Response> {
  const { html, policy } = await import('#playground-page');
  return new Response(html, {
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-cache',
      'content-security-policy': policy,
      'cross-origin-opener-policy': 'same-origin',
      'permissions-policy': 'camera=(), microphone=(), geolocation=()',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    },
  });
}
