/** Bytes to a stream and a part of a stream, for stores. */

/** A stream of one chunk, copied, so that the reader may keep it. */
export function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes.slice());
      controller.close();
    },
  });
}

/** Bytes `offset` to `offset + length - 1` of a stream; the source is cancelled when the end is reached. */
export function sliceStream(
  source: ReadableStream<Uint8Array>,
  offset: number,
  length = Number.POSITIVE_INFINITY,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  let skip = offset;
  let left = length;
  return new ReadableStream({
    async pull(controller) {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        const chunk = value.subarray(Math.min(skip, value.length));
        skip -= value.length - chunk.length;
        if (chunk.length === 0) continue;
        controller.enqueue(chunk.subarray(0, Math.min(left, chunk.length)));
        left -= chunk.length;
        if (left <= 0) {
          controller.close();
          await reader.cancel();
        }
        return;
      }
    },
    cancel: (cause) => reader.cancel(cause),
  });
}
