/** A server closes a connection that was kept alive, perhaps just as it is taken for the next request; that request is sent again. */
const CLOSED = ['UND_ERR_SOCKET', 'ECONNRESET'];

export async function sendAgainIfClosed(send: () => Promise<Response>, onClosed: () => void): Promise<Response> {
  try {
    return await send();
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as { readonly code?: string };
    if (code === undefined || !CLOSED.includes(code)) throw error;
    onClosed();
    return send();
  }
}
