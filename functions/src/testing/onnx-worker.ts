/**
 * A worker that embeds prompts, for the test of onnxruntime in workerd. `?prompt=…` gives the embedding's bytes and,
 * in headers, what the meter holds. Bindings: MODELS, an R2 bucket with `tokenizer.json` and `text-encoder.onnx`.
 */
import { Meter } from '@edge-dit/runtime/meter';
import { createWorkerdOrtRuntime } from '@edge-dit/runtime/onnx/ort-workerd';
import { OnnxTextEncoder } from '@edge-dit/runtime/text/onnx-text-encoder';
import { loadTokenizer } from '@edge-dit/runtime/text/tokenizer';

interface Bucket {
  get(key: string): Promise<{ arrayBuffer(): Promise<ArrayBuffer> } | null>;
}

let encoder: OnnxTextEncoder | undefined;
const meter = new Meter();

async function read(bucket: Bucket, key: string): Promise<Uint8Array> {
  const object = await bucket.get(key);
  if (object === null) throw new Error(`no ${key}`);
  return new Uint8Array(await object.arrayBuffer());
}

export default {
  async fetch(request: Request, { MODELS }: { MODELS: Bucket }): Promise<Response> {
    encoder ??= new OnnxTextEncoder({
      runtime: createWorkerdOrtRuntime(
        async () => (await import('onnxruntime-web/ort-wasm-simd-threaded.wasm')).default,
        meter,
      ),
      loadModel: () => read(MODELS, 'text-encoder.onnx'),
      loadTokenizer: async () =>
        loadTokenizer(JSON.parse(new TextDecoder().decode(await read(MODELS, 'tokenizer.json')))),
      meter,
    });
    const { data } = await encoder.encode(new URL(request.url).searchParams.getAll('prompt'));
    return new Response(new Uint8Array(data.buffer as ArrayBuffer), {
      headers: { 'x-held': JSON.stringify([...meter.held]), 'x-peak': String(meter.peak) },
    });
  },
};
