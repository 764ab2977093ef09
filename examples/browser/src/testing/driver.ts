/** For tests: what they run in the page beside it. A module of its own, which tests add to the page. */
import { chooseEngine } from '@edge-dit/runtime/engines/choose-engine';
import { Meter } from '@edge-dit/runtime/meter';
import { type GenerateRequest, Pipeline } from '@edge-dit/runtime/pipeline';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';

export interface LossReport {
  readonly rgb: readonly number[];
  readonly engine: string;
  readonly notes: readonly string[];
  readonly steps: readonly number[];
  /** Devices that were destroyed. */
  readonly destroyed: number;
  readonly heldBytes: number;
}

/** Channels of a row of the random model's text. */
const [TOKENS, CHANNELS] = [8, 32];

function randomRequest(steps: number): GenerateRequest {
  const row = {
    count: 1,
    tokens: TOKENS,
    channels: CHANNELS,
    data: new Float32Array(TOKENS * CHANNELS).fill(0.5),
    mask: new Int32Array(TOKENS).fill(1),
  };
  return { embedding: { prompt: row, negative: row }, seed: 5, steps };
}

/** Draws with `engines` in order of preference; after each of these steps the GPU's device is destroyed. */
async function drawLosing(
  model: string,
  engines: readonly string[],
  steps: number,
  lossesAfter: readonly number[],
): Promise<LossReport> {
  const devices: GPUDevice[] = [];
  const pipeline = await Pipeline.open({
    store: new HttpStore(location.origin),
    model,
    kernels: await compileKernels(),
    meter: new Meter(),
    openEngine: chooseEngine({ engine: engines, gpu: watched(devices) }),
  });
  const done: number[] = [];
  let destroyed = 0;
  const { rgb } = await pipeline.generate(randomRequest(steps), {
    onStep: (step) => {
      done.push(step);
      if (!lossesAfter.includes(step)) return;
      devices.at(-1)?.destroy();
      destroyed++;
    },
  });
  const { name, notes } = pipeline.engine!;
  await pipeline.close();
  return { rgb: Array.from(rgb), engine: name, notes, steps: done, destroyed, heldBytes: pipeline.meter.current };
}

/** The browser's GPU, whose devices are noted. */
function watched(devices: GPUDevice[]): GPU | undefined {
  const { gpu } = navigator;
  if (gpu === undefined) return undefined;
  return {
    wgslLanguageFeatures: gpu.wgslLanguageFeatures,
    getPreferredCanvasFormat: () => gpu.getPreferredCanvasFormat(),
    async requestAdapter(options?: GPURequestAdapterOptions) {
      const adapter = await gpu.requestAdapter(options);
      if (adapter === null) return null;
      const request = adapter.requestDevice.bind(adapter);
      adapter.requestDevice = async (descriptor) => {
        const device = await request(descriptor);
        devices.push(device);
        return device;
      };
      return adapter;
    },
  } as GPU;
}

declare global {
  var driver: { readonly drawLosing: typeof drawLosing };
}
globalThis.driver = { drawLosing };
