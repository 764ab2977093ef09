/** A signal that aborts with the first of two, of which one may be missing. */
export const eitherSignal = (a: AbortSignal | undefined, b: AbortSignal): AbortSignal =>
  a === undefined ? b : AbortSignal.any([a, b]);
