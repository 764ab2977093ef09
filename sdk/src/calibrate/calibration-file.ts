/**
 * A calibration as bytes: safetensors, with everything that is not a number in one JSON text of its metadata. What is
 * being calibrated is the same file, of which not all conditions are done. Equal content gives equal bytes.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import {
  MAX_NAME_LENGTH,
  MAX_TENSORS,
  parseSafetensors,
  type SafetensorsTensor,
  serializeSafetensors,
} from '@edge-dit/runtime/safetensors';
import { z } from 'zod';
import { type Calibration, type CalibrationState, calibrationOf } from './calibration.ts';
import { type GroupShape, type GroupStatistics, RANGE_FIELDS } from './group-statistics.ts';
import { triangleLength } from './second-moment.ts';

const METADATA = 'edge-dit';
const FORMAT = 'edge-dit-calibration';
const VERSION = 1;

/** Beyond any published transformer's widest layer. */
const MAX_CHANNELS = 65_536;
const MAX_STEPS = 1000;
const MAX_CONDITIONS = 65_536;
const MAX_PROMPT_LENGTH = 10_000;
/** Groups have four tensors at most. */
const MAX_GROUPS = MAX_TENSORS / 4;

const count = (most: number) => z.int().min(1).max(most);

const groupSchema = z.strictObject({
  layers: z.array(z.string().min(1).max(MAX_NAME_LENGTH)).min(1).max(MAX_GROUPS),
  channels: count(MAX_CHANNELS),
  steps: count(MAX_STEPS),
  halves: count(2),
  momentRows: z.int().min(0).optional(),
});

const headSchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  settings: z.strictObject({
    checkpoint: z.string().regex(/^[0-9a-f]{64}$/),
    architecture: z.string().min(1).max(MAX_NAME_LENGTH),
    conditions: z.union([
      z.array(z.string().max(MAX_PROMPT_LENGTH)).min(1).max(MAX_CONDITIONS),
      z.array(z.int().min(0)).min(1).max(MAX_CONDITIONS),
    ]),
    steps: count(MAX_STEPS),
    guidance: z.number(),
    seed: z.int().min(0),
    moments: z.boolean(),
  }),
  done: z.int().min(0),
  groups: z.array(groupSchema).max(MAX_GROUPS),
});

type Head = z.infer<typeof headSchema>;

/** The tensors of a group: their type, shape and place in `GroupStatistics`. */
function layoutOf({ channels, steps, halves }: GroupShape) {
  return {
    channel_max: { dtype: 'F32', shape: [steps, channels] },
    channel_squares: { dtype: 'F64', shape: [steps, channels] },
    token_ranges: { dtype: 'F64', shape: [steps, halves, RANGE_FIELDS.length] },
    moments: { dtype: 'F32', shape: [triangleLength(channels)] },
  } as const;
}

export function serializeCalibration({ settings, done, groups }: CalibrationState): Uint8Array<ArrayBuffer> {
  const { checkpoint, architecture, conditions, steps, guidance, seed, moments } = settings;
  const head: Head = {
    format: FORMAT,
    version: VERSION,
    settings: { checkpoint, architecture, conditions: [...conditions] as string[], steps, guidance, seed, moments },
    done,
    groups: groups.map(({ layers, channels, steps, halves, moments }) => {
      return { layers: [...layers], channels, steps, halves, ...(moments ? { momentRows: moments.rows } : {}) };
    }),
  };
  const tensors = new Map<string, SafetensorsTensor>();
  groups.forEach((group, i) => {
    const layout = layoutOf(group);
    const add = (name: keyof typeof layout, data: Float32Array | Float64Array) => {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      tensors.set(`${i}.${name}`, { ...layout[name], bytes });
    };
    add('channel_max', group.channelMax);
    add('channel_squares', group.channelSquares);
    add('token_ranges', group.tokenRanges);
    if (group.moments) add('moments', group.moments.triangle);
  });
  return serializeSafetensors(tensors, { [METADATA]: JSON.stringify(head) });
}

/**
 * @param name of the file, for messages
 * @throws `checkpoint-malformed` naming the file and the field or tensor
 */
export function parseState(bytes: Uint8Array, name: string): CalibrationState {
  const { metadata, tensors } = parseSafetensors(bytes, name);
  const { settings, done, groups } = parseHead(metadata[METADATA], name);
  if (done > settings.conditions.length || (done === 0) !== (groups.length === 0)) {
    throw malformed(
      name,
      `says that ${done} of ${settings.conditions.length} conditions are done in ${groups.length} groups`,
    );
  }
  const layers = groups.flatMap((group) => group.layers);
  if (new Set(layers).size !== layers.length) throw malformed(name, 'names a layer twice');
  const expected = groups.length * (settings.moments ? 4 : 3);
  if (tensors.size !== expected) throw malformed(name, `has ${tensors.size} tensors, expected ${expected}`);
  return { settings, done, groups: groups.map((group, i) => readGroup(group, i, tensors, settings.moments, name)) };
}

/**
 * The calibration in a file.
 * @throws `invalid-argument` when it cannot be read; `checkpoint-malformed` when it is no calibration, or not a whole one
 */
export async function readCalibration(path: string): Promise<Calibration> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const { message } = cause as Error;
    throw new EdgeDitError('invalid-argument', `calibration "${path}" cannot be read: ${message}.`, { cause });
  }
  return parseCalibration(bytes, path);
}

/** As `readCalibration`, of bytes. */
export function parseCalibration(bytes: Uint8Array, name: string): Calibration {
  const state = parseState(bytes, name);
  const { done, settings } = state;
  if (done === settings.conditions.length) {
    return calibrationOf(state, createHash('sha256').update(bytes).digest('hex'));
  }
  throw malformed(
    name,
    `has only ${done} of ${settings.conditions.length} conditions; let "edge-dit calibrate" finish it`,
  );
}

function parseHead(text: string | undefined, name: string): Head {
  if (text === undefined) throw malformed(name, `is no calibration: it has no metadata "${METADATA}"`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw malformed(name, `metadata "${METADATA}" is not JSON`, cause);
  }
  const version = (json as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version !== VERSION) {
    throw malformed(name, `is of version ${version}, this edge-dit reads ${VERSION}; calibrate again`);
  }
  const parsed = headSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw malformed(name, `metadata "${METADATA}": ${z.prettifyError(parsed.error).slice(0, 500)}`);
}

function readGroup(
  { momentRows, ...group }: Head['groups'][number],
  index: number,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  moments: boolean,
  file: string,
): GroupStatistics {
  if ((momentRows !== undefined) !== moments)
    throw malformed(file, `group ${index} contradicts the setting of moments`);
  const layout = layoutOf(group);
  const bytesOf = (part: keyof typeof layout): ArrayBuffer => {
    const name = `${index}.${part}`;
    const tensor = tensors.get(name);
    const { dtype, shape } = layout[part];
    if (tensor?.dtype !== dtype || tensor.shape.join() !== shape.join()) {
      throw malformed(
        file,
        `tensor "${name}" is ${tensor?.dtype ?? 'missing'} [${tensor?.shape ?? ''}], expected ${dtype} [${shape}]`,
      );
    }
    return new Uint8Array(tensor.bytes).buffer;
  };
  const finite = <T extends Float32Array | Float64Array>(values: T, part: string): T => {
    const at = values.findIndex((value) => !Number.isFinite(value));
    if (at >= 0) throw malformed(file, `tensor "${index}.${part}" has ${values[at]} at ${at}`);
    return values;
  };
  return {
    ...group,
    channelMax: finite(new Float32Array(bytesOf('channel_max')), 'channel_max'),
    channelSquares: finite(new Float64Array(bytesOf('channel_squares')), 'channel_squares'),
    tokenRanges: finite(new Float64Array(bytesOf('token_ranges')), 'token_ranges'),
    ...(momentRows === undefined
      ? {}
      : { moments: { rows: momentRows, triangle: finite(new Float32Array(bytesOf('moments')), 'moments') } }),
  };
}

function malformed(file: string, fault: string, cause?: unknown): EdgeDitError {
  return new EdgeDitError('checkpoint-malformed', `${file}: ${fault}.`, cause === undefined ? undefined : { cause });
}
