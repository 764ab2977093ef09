/**
 * A manifest, a size and a place in; out: how many bytes a picture takes and of what, which blocks would have to be streamed,
 * how many requests and products it is, how long and what that costs, and whether it fits. Nothing is fetched but the
 * manifest, nothing computed: the model runs on an engine that counts (`counting-engine.ts`).
 */
import { READ_AHEAD_BYTES } from '@edge-dit/runtime/engines/wasm-memory';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { Meter } from '@edge-dit/runtime/meter';
import type { Conditions, ConfiguredArchitecture } from '@edge-dit/runtime/models/architecture';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { loadModel } from '@edge-dit/runtime/models/load-model';
import { SAMPLING_COPIES } from '@edge-dit/runtime/pipeline';
import { type BlockBytes, type BlockPlan, planBlocks } from '@edge-dit/runtime/plan-blocks';
import { isGuided } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import { CountingEngine, type Products } from './counting-engine.ts';
import type { Rate } from './measure-rate.ts';
import { type Price, priceOf } from './price.ts';
import type { PlanTarget } from './targets.ts';
import { zeroModel } from './zero-store.ts';

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
    /** While a picture is computed, or while the model is loaded, whichever is more. */
    readonly peak: number;
    readonly loading: number;
  };
  /** How blocks would be divided; undefined where not even one at a time fits. Without `stream` nothing is streamed. */
  readonly blocks: BlockPlan | undefined;
  readonly requests: { readonly firstPicture: number; readonly nextPicture: number; readonly eachPass: number };
  readonly bytesRead: { readonly firstPicture: number; readonly nextPicture: number; readonly eachStep: number };
  readonly products: { readonly begin: Products; readonly step: Products };
  /** Of one thread, of the products alone. */
  readonly cpuMs: { readonly step: number; readonly picture: number };
  readonly price: Price | undefined;
  readonly verdict: Verdict;
  /** What does not fit, and what to do about it. */
  readonly problems: readonly string[];
  /** What has to be set for it to fit. */
  readonly notes: readonly string[];
}

/** Float32 copies of a picture, and its bytes as RGB and PNG, that are there at its end. */
const PICTURE_BYTES_A_PIXEL = 3 * (4 + 1 + 1);
/** Channels of a VAE decoder's last layers at full size, and float32 copies of them that are alive. */
const [VAE_CHANNELS, VAE_COPIES] = [128, 2];

export async function planModel(options: PlanOptions): Promise<Plan> {
  const { manifest, target, memory, rate } = options;
  const { vae } = manifest.pipeline;
  const architecture = architectureByName(manifest.architecture).configure(manifest.config);
  const request = requestOf(options, architecture);
  const counts = await count(manifest, architecture, request);
  const auxiliary = auxiliaryParts(manifest, request, options.embedded ?? false);
  const besides: PlanPart[] = [
    { part: 'conditions', bytes: counts.conditions },
    { part: 'activations', bytes: counts.activations + READ_AHEAD_BYTES },
    { part: 'sampler', bytes: SAMPLING_COPIES * 4 * request.sampleValues },
    { part: 'picture', bytes: PICTURE_BYTES_A_PIXEL * request.width * request.height },
    ...auxiliary,
  ];
  const fixed = counts.groups.filter(({ name }) => !name.startsWith('block.'));
  const blocks = counts.groups.filter(({ name }) => name.startsWith('block.'));
  const parts: PlanPart[] = [
    { part: 'weights outside blocks', bytes: sum(fixed, ({ resident }) => resident) },
    { part: `weights of ${blocks.length} blocks`, bytes: sum(blocks, ({ resident }) => resident) },
    ...besides,
  ];
  const computing = sum(parts, ({ bytes }) => bytes);
  const weights = sum(counts.groups, ({ resident }) => resident);
  const shardBytes = sum(manifest.shards, ({ length }) => length);
  const largestShard = Math.max(...manifest.shards.map(({ length }) => length));
  const loading = weights + largestShard + sum(auxiliary, ({ bytes }) => bytes);
  const room = memory - (computing - sum(blocks, ({ resident }) => resident));
  const plan = planBlocks(blocks, { bytes: room });
  const peak = Math.max(computing, loading);
  const streams = peak > memory;
  const streamed = streams ? plan : undefined;
  // Everything that depends on the conditions alone reads every block once more, before the first step.
  const passes = request.steps + 1;
  const eachPass = streamed?.stream.length ?? 0;
  const files = options.embedded ? manifest.files.filter(({ name }) => name === vae?.decoder) : manifest.files;
  const fileBytes = sum(files, ({ length }) => length);
  // The pointer and the manifest come first.
  const objects = 2 + manifest.shards.length + sum(files, ({ parts: all }) => all.length);
  const requests = { firstPicture: objects + passes * eachPass, nextPicture: passes * eachPass, eachPass };
  const readBytes = streamed?.readBytes ?? 0;
  const bytesRead = {
    firstPicture: shardBytes + fileBytes + passes * readBytes,
    nextPicture: passes * readBytes,
    eachStep: readBytes,
  };
  const msOf = ({ codes, floats }: Products) => 1000 * (codes / rate.codes + floats / rate.floats);
  const cpuMs = { step: msOf(counts.step), picture: msOf(counts.begin) + request.steps * msOf(counts.step) };
  const verdict: Verdict = !streams ? 'fits' : plan && plan.stream.length > 0 ? 'fits-when-streamed' : 'does-not-fit';
  const { width, height, steps, guidance, batch } = request;
  return {
    model: manifest.model,
    target: target.name,
    request: { width, height, steps, guidance, batch },
    memory: { budget: memory, parts, peak, loading },
    blocks: plan,
    requests,
    bytesRead,
    products: { begin: counts.begin, step: counts.step },
    cpuMs,
    price: priceOf(target, { cpuMs: cpuMs.picture, memory, reads: requests.nextPicture }),
    ...judge(target, { verdict, peak, memory, requests: requests.firstPicture, cpuMs: cpuMs.picture, steps }),
  };
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
  const [rows, columns] = [height / factor, width / factor];
  const { conditioning } = manifest.pipeline;
  const text = (tokens: number, channels: number) => {
    const mask = new Int32Array(batch * tokens).fill(1);
    return { count: batch, tokens, channels, data: new Float32Array(batch * tokens * channels), mask };
  };
  const given =
    conditioning.type === 'text' && geometry.conditioning.kind === 'text'
      ? {
          text: text(conditioning.maxTokens, geometry.conditioning.channels),
          resolution: new Float32Array(2 * batch),
          aspectRatio: new Float32Array(batch),
        }
      : { labels: new Array<number>(batch).fill(0) };
  return {
    ...{ width, height, steps, guidance, batch },
    sampleValues: geometry.inChannels * rows * columns,
    conditions: { batch, frames: 1, height: rows, width: columns, ...given },
    timesteps: createSampler(manifest.sampler, steps).timesteps,
  };
}

interface Counts {
  readonly groups: readonly BlockBytes[];
  readonly conditions: number;
  readonly activations: number;
  readonly begin: Products;
  readonly step: Products;
}

/** Loads a model of zeros and runs it once. */
async function count(
  manifest: Manifest,
  architecture: ConfiguredArchitecture,
  request: PlannedRequest,
): Promise<Counts> {
  const zeros = await zeroModel(manifest, architecture);
  const engine = new CountingEngine();
  const resident = new Map<string, number>();
  let [at, group] = [engine.mark(), ''];
  const close = () => {
    resident.set(group, (resident.get(group) ?? 0) + engine.mark() - at);
    at = engine.mark();
  };
  const { transformer } = await loadModel(zeros.store, zeros.manifest, engine, {
    meter: new Meter(Number.POSITIVE_INFINITY),
    concurrency: 1,
    // Comes before the shard is used: what was allocated since the last is of the last.
    onShard: (index) => {
      close();
      group = zeros.groups[index];
    },
  });
  close();
  resident.delete('');
  const loaded = engine.mark();
  engine.forget();
  const session = transformer.begin(request.conditions, request.timesteps);
  const begin = { ...engine.products };
  const begun = engine.mark();
  const beginPeak = engine.peak;
  engine.forget();
  const timesteps = new Float32Array(request.batch).fill(request.timesteps[0]);
  await session.forward(new Float32Array(request.batch * request.sampleValues), timesteps);
  const groups = [...resident].map(([name, bytes]) => ({
    name,
    resident: bytes,
    read: zeros.groupBytes.get(name) ?? 0,
  }));
  return {
    groups,
    conditions: begun - loaded,
    activations: Math.max(engine.peak, beginPeak) - begun,
    begin,
    step: { ...engine.products },
  };
}

/** The text encoder and the VAE decoder: what onnxruntime holds for them, which it never gives back. */
function auxiliaryParts(
  { pipeline, files }: Manifest,
  { width, height }: PlannedRequest,
  embedded: boolean,
): PlanPart[] {
  const sizeOf = (name: string | undefined) => files.find((file) => file.name === name)?.length ?? 0;
  const { conditioning, vae } = pipeline;
  const encoder = embedded || conditioning.type !== 'text' ? 0 : sizeOf(conditioning.textEncoder);
  const parts: PlanPart[] = [];
  if (encoder > 0) parts.push({ part: 'text encoder', bytes: ORT_BYTES + encoder, estimated: true });
  if (vae) {
    const weights = sizeOf(vae.decoder) + (encoder > 0 ? 0 : ORT_BYTES);
    const bytes = weights + VAE_COPIES * VAE_CHANNELS * 4 * width * height;
    parts.push({ part: 'VAE decoder', bytes, estimated: true });
  }
  return parts;
}

/** Of onnxruntime-web besides the model, as measured with an encoder of 17 MB. */
const ORT_BYTES = 39 * 2 ** 20;

interface Found {
  readonly verdict: Verdict;
  readonly peak: number;
  readonly memory: number;
  readonly requests: number;
  readonly cpuMs: number;
  readonly steps: number;
}

function judge(target: PlanTarget, found: Found): Pick<Plan, 'verdict' | 'problems' | 'notes'> {
  const [problems, notes]: [string[], string[]] = [[], []];
  const { maxMemory = Number.POSITIVE_INFINITY, subrequests = Number.POSITIVE_INFINITY, cpuMs } = target;
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const ms = Math.round(found.cpuMs);
  if (found.memory > maxMemory) {
    problems.push(`${target.name} has ${mib(maxMemory)} of memory at most, not ${mib(found.memory)}`);
  }
  if (found.requests > subrequests) {
    problems.push(`${found.requests} requests for the first picture, ${target.name} permits ${subrequests}`);
  }
  if (cpuMs && ms > cpuMs.most) {
    problems.push(
      `${ms} ms of CPU, ${target.name} permits ${cpuMs.most}: take fewer steps than ${found.steps}, or a smaller size`,
    );
  } else if (cpuMs && ms > cpuMs.usual) {
    notes.push(`${ms} ms of CPU need a higher limit than the usual ${cpuMs.usual}; up to ${cpuMs.most} can be set`);
  }
  const verdict = problems.length > 0 ? 'does-not-fit' : found.verdict;
  if (found.verdict !== 'fits') {
    const streamed = found.verdict === 'fits-when-streamed' ? '; or blocks streamed, which is not done yet' : '';
    problems.push(
      `${mib(found.peak)} are needed of ${mib(found.memory)}: take fewer bits, a smaller size, or a place with more memory${streamed}`,
    );
  }
  return { verdict, problems, notes };
}

const sum = <T>(items: readonly T[], of: (item: T) => number) => items.reduce((total, item) => total + of(item), 0);
