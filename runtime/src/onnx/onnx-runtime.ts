/**
 * What edge-dit asks of an engine for auxiliary ONNX models (text encoder, VAE decoder). Hosts inject one, so that
 * neither onnxruntime nor its 14 MB of WebAssembly is in a bundle that does not need it.
 */
export type OnnxTensor =
  | { readonly type: 'float32'; readonly dims: readonly number[]; readonly data: Float32Array }
  | { readonly type: 'int32'; readonly dims: readonly number[]; readonly data: Int32Array }
  | { readonly type: 'int64'; readonly dims: readonly number[]; readonly data: BigInt64Array };

export interface OnnxSession {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /**
   * One run. The outputs are copies: they outlive the session.
   * @throws `onnx-failed` naming the model and what the engine said; `memory-exceeded` when the engine's memory grew beyond the budget
   */
  run(feeds: Readonly<Record<string, OnnxTensor>>): Promise<Record<string, OnnxTensor>>;
  /** Frees the model inside the engine; what the engine took from the host it keeps. */
  release(): Promise<void>;
}

export interface OnnxRuntime {
  /**
   * Loads a model; the first call loads the engine itself.
   * @param model the file's bytes, not kept: drop them after the call
   * @param name for messages
   * @throws `onnx-failed`, `memory-exceeded`
   */
  load(model: Uint8Array, name: string): Promise<OnnxSession>;
}
