/** For tests of the runtime that run in a page: the browser's GPU in place of Node's. */
export const nodeGpu = async (): Promise<GPU | string> =>
  (await navigator.gpu?.requestAdapter()) ? navigator.gpu : 'this browser has no WebGPU';
