/**
 * Networks of recipes beside the float network: in every step they read what it reads, and so their errors are those of
 * that step alone, not of the way there.
 */
import type { Engine, Tensor } from '@edge-dit/runtime/engines/engine';
import type { ForwardHooks, Session, Transformer } from '@edge-dit/runtime/models/architecture';
import type { TeacherForced } from './analysis.ts';

export interface Pupil {
  readonly recipe: string;
  readonly engine: Engine;
  readonly transformer: Transformer;
}

/** Sums of squares, of a difference and of what is exact. */
interface Sums {
  difference: number;
  norm: number;
}

/** What came out: behind each block, then of the network. */
interface Outputs {
  readonly blocks: Float32Array[];
  readonly output: Float32Array;
}

export class Classroom {
  readonly #pupils: readonly Pupil[];
  readonly #steps: Sums[][];
  readonly #blocks: Sums[][];

  constructor(pupils: readonly Pupil[]) {
    this.#pupils = pupils;
    this.#steps = pupils.map(() => []);
    this.#blocks = pupils.map(() => []);
  }

  /** The teacher, whose every forward all pupils do too; what they make on the way is released when `end` is called. */
  teach(teacher: Transformer, engine: Engine): { readonly transformer: Transformer; end(): void } {
    const marks = this.#pupils.map((pupil) => pupil.engine.mark());
    const transformer: Transformer = {
      begin: (conditions, schedule) => {
        const session = teacher.begin(conditions, schedule);
        const sessions = this.#pupils.map((pupil) => pupil.transformer.begin(conditions, schedule));
        let step = 0;
        const forward: Session['forward'] = async (sample, timesteps, hooks) => {
          const exact = await outputsOf(session, engine, sample, timesteps, hooks);
          for (const [i, { engine: own }] of this.#pupils.entries()) {
            this.#compare(i, step, await outputsOf(sessions[i], own, sample, timesteps, hooks), exact);
          }
          step++;
          return exact.output;
        };
        return { forward };
      },
    };
    return { transformer, end: () => this.#pupils.forEach((pupil, i) => void pupil.engine.release(marks[i])) };
  }

  get results(): TeacherForced[] {
    const errors = (of: readonly Sums[]) => of.map(({ difference, norm }) => Math.sqrt(difference / norm));
    return this.#pupils.map(({ recipe }, i) => {
      return { recipe, steps: errors(this.#steps[i]), blocks: errors(this.#blocks[i]) };
    });
  }

  #compare(pupil: number, step: number, got: Outputs, exact: Outputs): void {
    add((this.#steps[pupil][step] ??= { difference: 0, norm: 0 }), got.output, exact.output);
    got.blocks.forEach((values, block) => {
      add((this.#blocks[pupil][block] ??= { difference: 0, norm: 0 }), values, exact.blocks[block]);
    });
  }
}

async function outputsOf(
  session: Session,
  engine: Engine,
  sample: Float32Array,
  timesteps: ArrayLike<number>,
  hooks?: ForwardHooks,
): Promise<Outputs> {
  const blocks: Float32Array[] = [];
  const observe = async (_block: string, output: Tensor) => void blocks.push(await engine.read(output));
  const output = await session.forward(sample, timesteps, { ...hooks, observe });
  return { blocks, output };
}

function add(sums: Sums, got: Float32Array, exact: Float32Array): void {
  for (let i = 0; i < exact.length; i++) {
    sums.difference += (got[i] - exact[i]) ** 2;
    sums.norm += exact[i] ** 2;
  }
}
