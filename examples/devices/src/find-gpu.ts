/** A GPU where the host has one: Deno and browsers bring it along; in Node the package `webgpu` (Dawn) does, where it loads. */
export async function findGpu(): Promise<GPU | undefined> {
  const own = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (own !== undefined || 'Deno' in globalThis) return own;
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    return create([]);
  } catch {
    // No Vulkan, Metal or Direct3D 12 here; the choice of engines says that there is no WebGPU.
    return undefined;
  }
}
