/**
 * Where the error of a quantized network comes from, as ViDiT-Q (arXiv 2406.02540, section 3) shows it: how what layers
 * read varies, what each layer loses to rounding under each treatment, and what whole recipes lose in each step and block.
 */
import { threadedEngine } from '@edge-dit/runtime/engines/open-threaded-wasm';
import { type OpenEngine, openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { loadModel } from '@edge-dit/runtime/models/load-model';
import { isGuided } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { KernelModules } from '@edge-dit/wasm-kernels';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { type Calibration, calibrate, schedulerOf } from '../calibrate/calibrate.ts';
import { checkpointDigest } from '../calibrate/calibration.ts';
import { embedder } from '../calibrate/embed-conditions.ts';
import { observeCondition } from '../calibrate/observe-condition.ts';
import { ObservingEngine } from '../calibrate/observing-engine.ts';
import { canonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { loadFloatModel } from '../float-model.ts';
import { quantize } from '../quantize/quantize.ts';
import type { Recipe } from '../recipes/recipe.ts';
import { spawnNodeThread, usualThreads } from '../threads/node-threads.ts';
import type { Analysis } from './analysis.ts';
import { analyzeOperands } from './analyze-operands.ts';
import { Classroom, type Pupil } from './teacher-forced.ts';
import { TokenRows } from './token-rows.ts';

export interface AnalyzeOptions {
  readonly checkpoint: Checkpoint;
  /** Prompts or classes whose tokens are looked at. Two to four tell enough. */
  readonly conditions: readonly (string | number)[];
  /** Default 10. */
  readonly steps?: number;
  /** Default 3. */
  readonly guidance?: number;
  readonly seed?: number;
  /** Of the same checkpoint: for the variances and the balance. Default: one on these conditions. */
  readonly calibration?: Calibration;
  /** Whose networks are run beside the float one. */
  readonly recipes?: readonly Recipe[];
  /** Folder for what a recipe has searched. */
  readonly cache?: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (
    part: 'calibrating' | 'searching' | 'sampling' | 'measuring',
    done: number,
    total: number,
  ) => void;
}

/** As SmoothQuant and most configurations of ViDiT-Q have it. */
const ALPHA = 0.5;
/** Networks in float32 and their activations on a developer's machine. */
const MEMORY_BYTES = 4 * 2 ** 30 - 2 ** 16;

/** @throws `invalid-argument` for a calibration of another checkpoint, and what calibration and quantization raise */
export async function analyze(options: AnalyzeOptions): Promise<Analysis> {
  const { checkpoint, conditions, steps = 10, guidance = 3, seed = 0, recipes = [], signal, onProgress } = options;
  const { threads = usualThreads() } = options;
  const digest = await checkpointDigest(checkpoint);
  if (options.calibration && options.calibration.checkpoint !== digest) {
    throw new EdgeDitError('invalid-argument', 'the calibration is of another checkpoint; calibrate this one.');
  }
  const run = { checkpoint, conditions, steps, guidance, seed, signal };
  const onStep = (done: number, total: number) => onProgress?.('calibrating', done, total);
  const calibration = options.calibration ?? (await calibrate({ ...run, moments: recipes.length > 0, onStep }));
  const engines = new Engines(threads, await compileKernels({ shared: threads > 1 }));
  try {
    const engine = await engines.open();
    const observing = new ObservingEngine(engine);
    const model = await loadFloatModel(checkpoint, observing);
    const { geometry } = model.architecture;
    const pupils: Pupil[] = [];
    for (const recipe of recipes) pupils.push(await pupilOf(recipe, { ...options, calibration }, await engines.open()));
    const classroom = new Classroom(pupils);
    const embed = embedder(checkpoint, geometry);
    const rows = new TokenRows(steps);
    const schedulerConfig = schedulerOf(checkpoint);
    let done = 0;
    for (const [index, condition] of conditions.entries()) {
      const lesson = classroom.teach(model.transformer, observing);
      await observeCondition({
        model: { ...model, transformer: lesson.transformer },
        observing,
        sample: rows,
        schedulerConfig,
        conditions: await embed(condition, isGuided(guidance)),
        steps,
        guidance,
        seed: seed + index,
        index,
        count: conditions.length,
        signal,
        onStep: () => onProgress?.('sampling', ++done, conditions.length * steps),
      });
      lesson.end();
    }
    const onLayer = (done: number, total: number) => onProgress?.('measuring', done, total);
    const canonical = canonicalCheckpoint(checkpoint);
    const found = await analyzeOperands({ canonical, calibration, rows, alpha: ALPHA, engine, signal, onLayer });
    return {
      format: 'edge-dit-analysis',
      version: 1,
      checkpoint: digest,
      calibration: calibration.sha256,
      architecture: checkpoint.architecture,
      conditions,
      timesteps: createSampler(schedulerConfig, steps).timesteps,
      guidance,
      seed,
      alpha: ALPHA,
      ...found,
      recipes: classroom.results,
    };
  } finally {
    engines.close();
  }
}

class Engines {
  readonly #open: OpenEngine;
  readonly #kernels: KernelModules;
  readonly #opened: { close(): void }[] = [];

  constructor(threads: number, kernels: KernelModules) {
    this.#open = threads > 1 ? threadedEngine({ threads, spawn: spawnNodeThread }) : openWasmEngine;
    this.#kernels = kernels;
  }

  async open() {
    const opened = await this.#open(this.#kernels, new Meter(MEMORY_BYTES));
    this.#opened.push(opened);
    return opened.engine;
  }

  close(): void {
    for (const opened of this.#opened) opened.close();
  }
}

/** The network as it would be published. */
async function pupilOf(
  recipe: Recipe,
  { checkpoint, calibration, cache, signal, onProgress }: AnalyzeOptions,
  engine: Pupil['engine'],
): Promise<Pupil> {
  const store = new MemoryStore();
  const search = { onMeasure: (done: number, total: number) => onProgress?.('searching', done, total) };
  const options = { checkpoint, recipe, model: recipe.name, store, calibration, cache, search, signal };
  const { manifest } = await quantize(options);
  const { transformer } = await loadModel(store, manifest, engine, { signal });
  return { recipe: recipe.name, engine, transformer };
}
