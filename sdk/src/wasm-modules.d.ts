/** A `.wasm` import in a worker: the module, compiled by the host. */
declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}
