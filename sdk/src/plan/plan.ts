/**
 * A manifest, a size and a place in; out: how many bytes a picture takes and of what, which blocks are streamed, how many
 * requests and products it is, how long and what that costs, and whether it fits. Nothing is fetched but the manifest,
 * nothing computed: it is the layout that the runtime would follow, from an engine that counts.
 */
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import type { Conditions, ConfiguredArchitecture } from '@edge-dit/runtime/models/architecture';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { SAMPLING_COPIES } from '@edge-dit/runtime/pipeline';
import { isGuided } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import type { Products } from '@edge-dit/runtime/streaming/counting-engine';
import { emptyConditions } from '@edge-dit/runtime/streaming/empty-conditions';
import { planLayout } from '@edge-dit/runtime/streaming/layout';
import { type BlockPlan, bytesOf } from '@edge-dit/runtime/streaming/plan-blocks';
import type { Unit } from '@edge-dit/runtime/streaming/units';
import type { Rate } from './measure-rate.ts';
import { type Price, priceOf } from './price.ts';
import type { PlanTarget } from './targets.ts';

export interface PlanOptions {
  readonly manifest: Manifest;
  readonly target: PlanTarget;
  /** Bytes for everything that the runtime holds. */
  readonly memory: number;
  readonly rate: Rate;
  readonly steps?: number;
  readonly guidance?: number;
  /** Pixels. */
  readonly width?: number;
  readonly height?: number;
  /** The prompt is encoded elsewhere: embeddings are sent, or were cached. */
  readonly embedded?: boolean;
}

export interface PlanPart {
  readonly part: string;
  readonly bytes: number;
  /** Not counted but guessed, from the size of a file. */
  readonly estimated?: true;
  /** When the network has run: it does not add up with what is above. */
  readonly apart?: true;
}

export type Verdict = 'fits' | 'fits-when-streamed' | 'does-not-fit';

export interface Plan {
  readonly model: string;
  readonly target: string;
  readonly request: {
    readonly width: number;
    readonly height: number;
    readonly steps: number;
    readonly guidance: number;
    /** Pictures that the network computes at once: two with guidance. */
    readonly batch: number;
  };
  readonly memory: {
    readonly budget: number;
    readonly parts: readonly PlanPart[];
    /** While a picture is computed, or decoded, whichever is more: within the budget where it fits. */
    readonly peak: number;
    /** With every block in memory. */
    readonly whole: number;
    /** The smallest budget in which a picture can be made. */
    readonly least: number;
  };
  /** Undefined where not even one block at a time fits. */
  readonly blocks: PlannedBlocks | undefined;
  /**
   * To other places, calls of the Cache API included where shards are cached by it. `cold` is the first picture of an isolate
   * whose cache is empty, `uncached` one where the cache keeps nothing, `warm` one with everything there that stays.
   */
  readonly requests: { readonly cold: number; readonly uncached: number; readonly warm: number };
  readonly bytesRead: { readonly firstPicture: number; readonly nextPicture: number; readonly eachStep: number };
  readonly products: { readonly begin: Products; readonly step: Products };
  /** Of one thread, of the products and of the digests of what is read in every step. */
  readonly cpuMs: { readonly step: number; readonly picture: number };
  readonly price: Price | undefined;
  readonly verdict: Verdict;
  /** What does not fit, and what to do about it. */
  readonly problems: readonly string[];
  /** What has to be set for it to fit. */
  readonly notes: readonly string[];
}

export interface PlannedBlocks {
  /** Numbers of blocks. */
  readonly stay: number;
  readonly streamed: number;
  readonly plan: BlockPlan;
  /** Whether what blocks make of the text is kept for all steps; otherwise it is made anew in each. */
  readonly keptConditions: boolean;
}

/** Float32 copies of a picture, and its bytes as RGB and PNG, that are there at its end. */
const PICTURE_BYTES_A_PIXEL = 3 * (4 + 1 + 1);
/** Channels of a VAE decoder's last layers at full size, and float32 copies of them that are alive. */
const [VAE_CHANNELS, VAE_COPIES] = [128, 2];

export async function planModel(options: PlanOptions): Promise<Plan> {
  const { manifest, target, memory, rate } = options;
  const architecture = architectureByName(manifest.architecture).configure(manifest.config);
  const request = requestOf(options, architecture);
  const { encoder, decoding } = auxiliaryParts(manifest, request, options.embedded ?? false);
  const besides: PlanPart[] = [
    { part: 'engine', bytes: ENGINE_BYTES },
    { part: 'sampler', bytes: SAMPLING_COPIES * 4 * request.sampleValues },
    ...encoder,
  ];
  const occupied = sum(besides, ({ bytes }) => bytes);
  const planned = await planLayout(manifest, architecture, request, memory - occupied);
  // Where nothing fits, it is told what would be needed.
  const { layout } = planned.layout
    ? planned
    : await planLayout(manifest, architecture, request, Number.POSITIVE_INFINITY);
  const { counts, plan, units, keep, largest } = layout!;
  const all = sum(counts.units, (bytes) => bytes);
  const blocks = planned.layout && {
    ...blockCounts(units, plan),
    plan,
    keptConditions: keep,
  };
  const parts: PlanPart[] = [
    { part: 'weights outside blocks', bytes: counts.fixed },
    { part: `weights of ${sum(units, (unit) => unit.blocks.length)} blocks`, bytes: all },
    { part: 'conditions', bytes: counts.conditions },
    { part: 'activations', bytes: counts.activations },
    { part: 'a shard on its way', bytes: largest },
    ...besides,
    { part: 'picture', bytes: PICTURE_BYTES_A_PIXEL * request.width * request.height, apart: true },
    ...decoding.map((part) => ({ ...part, apart: true as const })),
  ];
  const decodingPeak = sum([...encoder, ...decoding], ({ bytes }) => bytes);
  const computing = counts.fixed + counts.conditions + counts.activations + occupied;
  const whole = Math.max(computing + all + largest, decodingPeak);
  const peak = Math.max(computing + bytesOf(plan), decodingPeak);
  const least = Math.max(planned.least + occupied, decodingPeak);
  const { requests, bytesRead, storeReads } = readsOf(options, request, units, planned.layout && plan);
  const msOf = ({ codes, floats }: Products) => 1000 * (codes / rate.codes + floats / rate.floats);
  const step = msOf(counts.step) + (1000 * bytesRead.eachStep) / rate.hash;
  const cpuMs = { step, picture: msOf(counts.begin) + request.steps * step };
  const fits = planned.layout !== undefined && decodingPeak <= memory;
  const verdict: Verdict = !fits ? 'does-not-fit' : plan.stream.length > 0 ? 'fits-when-streamed' : 'fits';
  const { width, height, steps, guidance, batch } = request;
  return {
    model: manifest.model,
    target: target.name,
    request: { width, height, steps, guidance, batch },
    memory: { budget: memory, parts, peak, whole, least },
    blocks,
    requests,
    bytesRead,
    products: { begin: counts.begin, step: counts.step },
    cpuMs,
    price: priceOf(target, { cpuMs: cpuMs.picture, memory, reads: storeReads }),
    ...judge(target, {
      verdict,
      least,
      memory,
      requests,
      cpuMs: cpuMs.picture,
      steps,
      streamed: blocks?.streamed ?? 0,
    }),
  };
}

/** What the engine takes before it holds anything: its self-test's memory. */
const ENGINE_BYTES = 512 * 1024;

function blockCounts(units: readonly Unit[], { stream }: BlockPlan): { stay: number; streamed: number } {
  const chosen = new Set(stream);
  const count = (is: boolean) => sum(units, ({ name, blocks }) => (chosen.has(name) === is ? blocks.length : 0));
  return { stay: count(false), streamed: count(true) };
}

/** Requests and bytes, by the order in which the runtime reads. */
function readsOf(
  { manifest, target, embedded }: PlanOptions,
  { steps }: PlannedRequest,
  units: readonly Unit[],
  plan: BlockPlan | undefined,
): Pick<Plan, 'requests' | 'bytesRead'> & { storeReads: number } {
  const { vae, conditioning } = manifest.pipeline;
  const chosen = new Set(plan?.stream);
  const streams = units.flatMap(({ name, tensors }) => (chosen.has(name) ? [...tensors.keys()] : []));
  const files = embedded ? manifest.files.filter(({ name }) => name === vae?.decoder) : manifest.files;
  const parts = sum(files, ({ parts: all }) => all.length);
  const { hit, miss } = target.cacheCalls ?? { hit: 1, miss: 1 };
  // Embeddings of prompts are kept where shards are.
  const encodes = conditioning.type === 'text' && conditioning.textEncoder !== undefined && !embedded;
  const texts = target.cacheCalls && encodes ? miss - 1 : 0;
  // Streamed shards that are of something that stays as well are read once more; the manifest is content-addressed too.
  const shards = manifest.shards.length;
  const first = 1 + miss * (1 + shards + parts) + texts;
  const requests = {
    cold: first + hit * (steps - 1) * streams.length,
    uncached: first + miss * (steps - 1) * streams.length,
    warm: hit * steps * streams.length + texts,
  };
  const eachStep = plan?.readBytes ?? 0;
  const bytes = sum(manifest.shards, ({ length }) => length) + sum(files, ({ length }) => length);
  const bytesRead = { firstPicture: bytes + (steps - 1) * eachStep, nextPicture: steps * eachStep, eachStep };
  return { requests, bytesRead, storeReads: steps * streams.length };
}

interface PlannedRequest {
  readonly width: number;
  readonly height: number;
  readonly steps: number;
  readonly guidance: number;
  readonly batch: number;
  readonly sampleValues: number;
  readonly conditions: Conditions;
  readonly timesteps: readonly number[];
}

function requestOf(options: PlanOptions, { geometry }: ConfiguredArchitecture): PlannedRequest {
  const { manifest, steps = manifest.defaults.steps, guidance = manifest.defaults.guidance } = options;
  const factor = manifest.pipeline.vae?.spatialFactor ?? 1;
  const { width = factor * geometry.sampleSize, height = factor * geometry.sampleSize } = options;
  const batch = isGuided(guidance) ? 2 : 1;
  const size = { height: height / factor, width: width / factor };
  return {
    ...{ width, height, steps, guidance, batch },
    sampleValues: geometry.inChannels * size.height * size.width,
    conditions: emptyConditions(manifest, geometry, batch, size),
    timesteps: createSampler(manifest.sampler, steps).timesteps,
  };
}

/**
 * The text encoder and the VAE decoder: what onnxruntime holds for them, which it never gives back. The encoder runs before
 * the network, the decoder after it, when the engine can go.
 */
function auxiliaryParts(
  { pipeline, files }: Manifest,
  { width, height }: PlannedRequest,
  embedded: boolean,
): { encoder: PlanPart[]; decoding: PlanPart[] } {
  const sizeOf = (name: string | undefined) => files.find((file) => file.name === name)?.length ?? 0;
  const { conditioning, vae } = pipeline;
  const encoder = embedded || conditioning.type !== 'text' ? 0 : sizeOf(conditioning.textEncoder);
  const part = (name: string, bytes: number): PlanPart => ({ part: name, bytes, estimated: true });
  const weights = sizeOf(vae?.decoder) + (encoder > 0 ? 0 : ORT_BYTES);
  return {
    encoder: encoder > 0 ? [part('text encoder', ORT_BYTES + encoder)] : [],
    decoding: vae ? [part('VAE decoder', weights + VAE_COPIES * VAE_CHANNELS * 4 * width * height)] : [],
  };
}

/** Of onnxruntime-web besides the model, as measured with an encoder of 17 MB. */
const ORT_BYTES = 39 * 2 ** 20;

interface Found {
  readonly verdict: Verdict;
  readonly least: number;
  readonly memory: number;
  readonly requests: Plan['requests'];
  readonly cpuMs: number;
  readonly steps: number;
  readonly streamed: number;
}

function judge(target: PlanTarget, found: Found): Pick<Plan, 'verdict' | 'problems' | 'notes'> {
  const [problems, notes]: [string[], string[]] = [[], []];
  const { maxMemory = Number.POSITIVE_INFINITY, subrequests = Number.POSITIVE_INFINITY, cpuMs } = target;
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const ms = Math.round(found.cpuMs);
  const { cold, uncached } = found.requests;
  if (found.memory > maxMemory) {
    problems.push(`${target.name} has ${mib(maxMemory)} of memory at most, not ${mib(found.memory)}`);
  }
  if (found.verdict === 'does-not-fit') {
    const advice = 'take fewer bits, a smaller size, or a place with more memory';
    problems.push(`${mib(found.least)} are needed even with one block at a time, of ${mib(found.memory)}: ${advice}`);
  }
  if (cold > subrequests) {
    problems.push(`${cold} requests for the first picture, ${target.name} permits ${subrequests}: take fewer steps`);
  } else if (uncached > subrequests) {
    notes.push(
      `where the cache keeps nothing a picture is ${uncached} requests, ${target.name} permits ${subrequests}`,
    );
  }
  if (cpuMs && ms > cpuMs.most) {
    problems.push(
      `${ms} ms of CPU, ${target.name} permits ${cpuMs.most}: take fewer steps than ${found.steps}, or a smaller size`,
    );
  } else if (cpuMs && ms > cpuMs.usual) {
    notes.push(`${ms} ms of CPU need a higher limit than the usual ${cpuMs.usual}; up to ${cpuMs.most} can be set`);
  }
  if (found.verdict === 'fits-when-streamed') {
    notes.push(`not all blocks fit: ${found.streamed} are read again in every step, while others compute`);
  }
  return { verdict: problems.length > 0 ? 'does-not-fit' : found.verdict, problems, notes };
}

const sum = <T>(items: readonly T[], of: (item: T) => number) => items.reduce((total, item) => total + of(item), 0);
