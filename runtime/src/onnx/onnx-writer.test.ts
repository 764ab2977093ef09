import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OnnxConstant, type OnnxGraph, writeOnnxModel } from './onnx-writer.ts';
import { createNodeOrtRuntime } from './ort-node.ts';
import { ProtoWriter } from './proto-writer.ts';

test('the wire format: examples of the protocol buffers documentation', () => {
  assert.deepEqual([...new ProtoWriter().integer(1, 150).finish()], [0x08, 0x96, 0x01]);
  assert.deepEqual([...new ProtoWriter().string(2, 'testing').finish()], [0x12, 7, ...Buffer.from('testing')]);
  const nested = new ProtoWriter().message(3, new ProtoWriter().integer(1, 150));
  assert.deepEqual([...nested.finish()], [0x1a, 3, 0x08, 0x96, 0x01]);
  assert.deepEqual([...new ProtoWriter().integer(1, -2).finish()], [8, 0xfe, ...new Array(8).fill(0xff), 1]);
  assert.deepEqual([...new ProtoWriter().float(20, 1).finish()], [0xa5, 1, 0, 0, 0x80, 0x3f]);
});

const int64s = (name: string, values: bigint[]): OnnxConstant => ({
  name,
  type: 'int64',
  dims: [values.length],
  bytes: new Uint8Array(BigInt64Array.from(values).buffer),
});

test('onnxruntime reads every kind of attribute, constant and optional input', async () => {
  const graph: OnnxGraph = {
    name: 'kinds',
    inputs: [{ name: 'x', type: 'float32', dims: ['rows', 4] }],
    outputs: [{ name: 'y', type: 'float32', dims: [4, 'rows'] }],
    constants: [
      int64s('starts', [0n]),
      int64s('ends', [3n]),
      { name: 'high', type: 'float32', dims: [], bytes: new Uint8Array(Float32Array.of(2).buffer) },
      { name: 'bytes', type: 'uint8', dims: [1], bytes: Uint8Array.of(3) },
    ],
    nodes: [
      { op: 'Slice', inputs: ['x', 'starts', 'ends'], outputs: ['sliced'] },
      { op: 'Clip', inputs: ['sliced', '', 'high'], outputs: ['clipped'] },
      { op: 'LeakyRelu', name: 'leaky', inputs: ['clipped'], outputs: ['relu'], attributes: { alpha: { float: 0.5 } } },
      { op: 'Cast', inputs: ['bytes'], outputs: ['three'], attributes: { to: { int: 1 } } },
      {
        op: 'Constant',
        inputs: [],
        outputs: ['tensor'],
        attributes: {
          value: {
            tensor: { name: '', type: 'float32', dims: [1], bytes: new Uint8Array(Float32Array.of(10).buffer) },
          },
        },
      },
      { op: 'Constant', inputs: [], outputs: ['floats'], attributes: { value_floats: { floats: [1, 2, 3, 4] } } },
      { op: 'Mul', inputs: ['relu', 'three'], outputs: ['a'] },
      { op: 'Add', inputs: ['a', 'tensor'], outputs: ['b'] },
      { op: 'Add', inputs: ['b', 'floats'], outputs: ['c'] },
      { op: 'Einsum', inputs: ['c'], outputs: ['d'], attributes: { equation: { string: 'ij->ij' } } },
      { op: 'Transpose', inputs: ['d'], outputs: ['y'], attributes: { perm: { ints: [1, 0] } } },
    ],
  };
  const session = await createNodeOrtRuntime().load(writeOnnxModel(graph, { metadata: { made: 'here' } }), 'kinds');
  assert.deepEqual([session.inputs, session.outputs], [['x'], ['y']]);
  const data = Float32Array.of(-2, -1, 0, 1, 2, 3, 4, 5, 0.5, -0.5, 1.5, -1.5, 9, 9, 9, 9);
  const { y } = await session.run({ x: { type: 'float32', dims: [4, 4], data } });
  assert.deepEqual(y.dims, [4, 3]);
  const expected = Array.from({ length: 12 }, (_, i) => {
    const clipped = Math.min(data[(i % 3) * 4 + Math.floor(i / 3)], 2);
    return (clipped < 0 ? clipped / 2 : clipped) * 3 + 10 + Math.floor(i / 3) + 1;
  });
  assert.deepEqual([...y.data], expected);
  await session.release();
});
