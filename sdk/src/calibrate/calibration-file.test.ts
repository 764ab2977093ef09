import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { parseSafetensors, type SafetensorsTensor, serializeSafetensors } from '@edge-dit/runtime/safetensors';
import type { CalibrationState } from './calibration.ts';
import { parseCalibration, serializeCalibration } from './calibration-file.ts';
import { countToken, emptyStatistics } from './group-statistics.ts';

const moments = { rows: 2, triangle: Float32Array.of(4, 0, 0, 5, 0, 6) };
const group = { ...emptyStatistics(['a', 'b'], { channels: 3, steps: 2, halves: 2 }), moments };
countToken(group, 1, 0, Float32Array.of(9, 9, 9, 2, -5, 1), 1);
countToken(group, 0, 1, Float32Array.of(-1, -2, -3), 0);
const state: CalibrationState = {
  settings: {
    checkpoint: 'a'.repeat(64),
    architecture: 'DiT',
    conditions: [1, 2],
    steps: 2,
    guidance: 3,
    seed: 0,
    moments: true,
  },
  done: 2,
  groups: [group],
};
const bytes = serializeCalibration(state);

test('what is written is read', () => {
  const { groups, sha256, ...settings } = parseCalibration(bytes, 'f');
  assert.deepEqual(settings, state.settings);
  assert.match(sha256, /^[0-9a-f]{64}$/);
  const [{ channelMax, channelSquares, tokenRanges, moments }] = groups;
  assert.deepEqual([...channelMax], [2, 5, 3]);
  assert.deepEqual([...channelSquares], [1, 4, 9, 4, 25, 1]);
  assert.deepEqual([...tokenRanges.subarray(5, 15)], [1, -3, 0, 3, 3, 1, -5, 2, 7, 7]);
  assert.deepEqual([moments!.rows, ...moments!.matrix], [2, 4, 0, 0, 0, 5, 0, 0, 0, 6]);
});

type Json = Record<string, never>;
const { metadata, tensors } = parseSafetensors(bytes);

/** The file with another head, or other tensors. */
function changed(edit: (head: Json, tensors: Map<string, SafetensorsTensor>) => void): Uint8Array {
  const head = JSON.parse(metadata['edge-dit']) as Json;
  const copies = new Map([...tensors].map(([name, tensor]) => [name, { ...tensor, bytes: tensor.bytes.slice() }]));
  edit(head, copies);
  return serializeSafetensors(copies, { 'edge-dit': JSON.stringify(head) });
}

test('what is no whole calibration of this version is refused, and the fault is named', () => {
  const refused = (given: Uint8Array, message: RegExp) =>
    assert.throws(
      () => parseCalibration(given, 'f.st'),
      (error) => isEdgeDitError(error, 'checkpoint-malformed') && message.test(error.message),
      String(message),
    );
  const edited = (edit: Parameters<typeof changed>[0], message: RegExp) => refused(changed(edit), message);
  refused(serializeSafetensors(new Map(), {}), /^f\.st: is no calibration/);
  refused(bytes.subarray(0, bytes.length - 1), /^f\.st: /);
  edited((head) => Object.assign(head, { version: 2 }), /is of version 2, this edge-dit reads 1; calibrate again/);
  edited((head) => Object.assign(head, { done: 1 }), /has only 1 of 2 conditions; let "edge-dit calibrate" finish it/);
  edited((head) => Object.assign(head, { done: 3 }), /3 of 2/);
  edited((head) => Object.assign(head, { more: 3 }), /Unrecognized key/);
  edited((head) => Object.assign(head.groups[0], { channels: 2 ** 31 }), /Too big/);
  edited(
    (head) => Object.assign(head.groups[0], { channels: 4 }),
    /tensor "0\.channel_max" is F32 \[2,3\], expected F32 \[2,4\]/,
  );
  edited((head) => Object.assign(head.groups[0], { layers: ['a', 'a'] }), /names a layer twice/);
  edited((head) => Object.assign(head.settings, { moments: false }), /has 4 tensors, expected 3/);
  edited((head) => Object.assign(head.groups[0], { momentRows: undefined }), /contradicts the setting of moments/);
  edited((_, all) => all.delete('0.moments'), /has 3 tensors, expected 4/);
  edited((_, all) => all.get('0.channel_max')!.bytes.fill(255, 0, 4), /"0\.channel_max" has NaN at 0/);
});

test('no flipped byte of the head makes it anything but refused or another calibration', () => {
  const head = new DataView(bytes.buffer).getUint32(0, true) + 8;
  for (let at = 0; at < head; at++) {
    const damaged = bytes.slice();
    damaged[at] ^= 1 << (at % 8);
    try {
      parseCalibration(damaged, 'f');
    } catch (error) {
      assert.ok(isEdgeDitError(error, 'checkpoint-malformed'), `byte ${at}: ${error}`);
    }
  }
});
