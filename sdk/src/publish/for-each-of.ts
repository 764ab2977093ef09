/** Work on many items, a few at a time. */

export type Many<T> = Iterable<T> | AsyncIterable<T>;

/**
 * Runs `work` on each item; takes the next item only when there is room for it. After a failure no item is taken; it is
 * raised when all that was begun has ended.
 */
export async function forEachOf<T>(items: Many<T>, atOnce: number, work: (item: T) => Promise<unknown>): Promise<void> {
  const running = new Set<Promise<unknown>>();
  const failures: unknown[] = [];
  for await (const item of items) {
    const task: Promise<unknown> = work(item)
      .catch((error: unknown) => failures.push(error))
      .finally(() => running.delete(task));
    running.add(task);
    if (running.size >= atOnce) await Promise.race(running);
    if (failures.length > 0) break;
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
}
