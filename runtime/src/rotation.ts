/**
 * Hadamard rotations of a layer's inputs (QuaRot, arXiv 2404.00456): x' = (x * balance) diag(s) H / sqrt(K) takes the
 * place of x, and the weight's rows are rotated likewise after they were divided by the balance, so that the product
 * stays what it was and outliers spread over all channels. FORMAT.md says which matrix H is.
 */
import { hadamardOrder, rotateReference } from '@edge-dit/wasm-kernels';
import { EdgeDitError } from './errors.ts';

/**
 * The order of the matrix that spans blocks of a power of two of `inFeatures` inputs.
 * @param layer what the error names
 * @throws `config-unsupported` where there is no such matrix
 */
export function rotationOrder(inFeatures: number, layer: string): number {
  const order = hadamardOrder(inFeatures);
  if (order !== undefined) return order;
  throw new EdgeDitError(
    'config-unsupported',
    `${layer} cannot be rotated: no Hadamard matrix is known here for ${inFeatures} inputs. Leave its rotation out.`,
  );
}

/**
 * Rotates `data` [rows, inFeatures] in place, in float32 with the bits of the engines: a weight already divided by its
 * balance, or activations already multiplied by it.
 * @param signs [inFeatures], 1 where the sign is -, else 0
 * @param layer what the error names
 * @throws `config-unsupported` where `inFeatures` has no rotation
 */
export function hadamardRotate(
  rows: number,
  inFeatures: number,
  data: Float32Array,
  signs: Uint8Array,
  layer = 'a layer',
): void {
  rotationOrder(inFeatures, layer);
  rotateReference(data.subarray(0, rows * inFeatures), inFeatures, signs);
}
