/** Peak signal-to-noise ratio of two pictures of values in -1..1 (cut off there): 10 log10(4 / MSE), in dB. */
export function psnr(a: Float32Array, b: Float32Array): number {
  const cut = (value: number) => Math.min(1, Math.max(-1, value));
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (cut(a[i]) - cut(b[i])) ** 2;
  return 10 * Math.log10((4 * a.length) / sum);
}
