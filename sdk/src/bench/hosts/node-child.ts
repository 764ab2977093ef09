/** The far side of `node.ts`. */
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { supportedVariants } from '@edge-dit/wasm-kernels';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { assembleCeiling } from '@edge-dit/wasm-kernels/bench/dot-ceiling';
import { spawnNodeThread } from '../../threads/node-threads.ts';
import { describeHost, runPart } from '../core/run-part.ts';
import { answerOf, type HostRequest } from './host.ts';

const ceilings = Object.fromEntries(
  supportedVariants().map((variant) => [variant, new WebAssembly.Module(assembleCeiling(variant))]),
);
const host = {
  kernels: await compileKernels(),
  ceilings,
  onnx: createNodeOrtRuntime(),
  threads: { spawn: spawnNodeThread, kernels: await compileKernels({ shared: true }) },
};

process.on('message', async (request: HostRequest) => {
  process.send!(
    await answerOf(async () =>
      'part' in request ? runPart(host, request.part) : describeHost(host, 'Node', process.version),
    ),
  );
});
process.on('disconnect', () => process.exit());
