/**
 * A promise that another request resolves, waited for. workerd gives up a request that has nothing of its own under way,
 * and a promise of another request does not count; a timer does.
 */
export async function stayAwake<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 1000);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}
