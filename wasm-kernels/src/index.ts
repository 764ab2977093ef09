/** Pure arithmetic over one WebAssembly memory: kernels, the modules that hold them, and their plain reference. */
export { hadamardFlips, hadamardOrder, hadamardScale, rotateReference } from './hadamard.ts';
export { VARIANTS } from './kernels/index.ts';
export {
  type CodeForm,
  instantiateKernels,
  type KernelModules,
  type Kernels,
  linearScratchBytes,
  supportedVariants,
  type Variant,
} from './load.ts';
export {
  type CodedWeight,
  integerProduct,
  linearReference,
  nearestEven,
  type QuantizedRows,
  quantizeReference,
  quantizeWeightsReference,
} from './reference.ts';
