/**
 * WebGPU in Node, for tests and benchmarks: npm `webgpu` (Dawn). Where there is no GPU, SwiftShader computes, a software
 * adapter that comes with Debian's `chromium`; VK_ICD_FILENAMES or VK_DRIVER_FILES choose another Vulkan driver.
 */
import { existsSync } from 'node:fs';

const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/** A GPU, or why there is none. */
export async function nodeGpu(flags: string[] = []): Promise<GPU | string> {
  const { VK_ICD_FILENAMES, VK_DRIVER_FILES } = process.env;
  if (!VK_ICD_FILENAMES && !VK_DRIVER_FILES && existsSync(SWIFTSHADER)) process.env.VK_ICD_FILENAMES = SWIFTSHADER;
  let gpu: GPU;
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    gpu = create(flags);
  } catch (error) {
    return `npm webgpu does not load here: ${error instanceof Error ? error.message : error}`;
  }
  if (await gpu.requestAdapter()) return gpu;
  return 'no WebGPU adapter; on Debian, `apt-get install chromium libvulkan1` brings a software one';
}
