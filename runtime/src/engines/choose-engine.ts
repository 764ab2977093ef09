/**
 * Picks the engine of a host that may have several: what can be opened and passes its self-test, then the fastest by a
 * short probe. In: the host, and what the caller wants. Out: `openEngine` of a pipeline, whose notes say which and why.
 */
import { EdgeDitError, type ErrorCode, isEdgeDitError, unknownName } from '../errors.ts';
import { engineKinds } from './kinds/index.ts';
import type { EngineHost, EngineKind } from './kinds/kind.ts';
import type { OpenEngine, OpenedEngine } from './open-wasm.ts';
import { probe } from './probe.ts';

export interface EngineChoice extends Pick<EngineHost, 'gpu' | 'threads'> {
  /**
   * `auto`, the default: the fastest. A name of the list: that one or an error. Names: the first of them that can be had;
   * nothing is measured.
   */
  readonly engine?: 'auto' | string | readonly string[];
  readonly kinds?: readonly EngineKind[];
}

/** One that is preferred stays so unless another is that much faster: a noisy clock is no reason. */
const CLEARLY = 1.1;
/** What says that a kind cannot be used here; a broken driver fails in more ways than one. */
const UNUSABLE: readonly ErrorCode[] = ['engine-unavailable', 'memory-exceeded', 'device-lost', 'internal'];
/** A device that was lost may be had again; one that is lost twice will be lost a third time. */
const MAX_LOSSES = 1;

/** @throws EdgeDitError `unknown-name`; what it returns raises `engine-unavailable` with a reason for every kind */
export function chooseEngine(choice: EngineChoice = {}): OpenEngine {
  const { engine = 'auto', kinds = engineKinds, gpu, threads } = choice;
  const names = kinds.map(({ name }) => name);
  const wanted = (engine === 'auto' ? names : [engine].flat()).map((name) => {
    const kind = kinds.find((candidate) => candidate.name === name);
    if (kind === undefined) throw unknownName('engine', name, ['auto', ...names]);
    return kind;
  });
  return async (kernels, meter, _variant, lost = []) => {
    const host: EngineHost = { kernels, meter, gpu, threads };
    const notes: string[] = [];
    const attempt = async <T>(kind: EngineKind, work: () => Promise<T>): Promise<T | undefined> => {
      try {
        return await work();
      } catch (error) {
        if (!isEdgeDitError(error) || !UNUSABLE.includes(error.code)) throw error;
        const { message } = error;
        notes.push(message.startsWith(`${kind.name}: `) ? message : `${kind.name}: ${message}`);
        return undefined;
      }
    };
    const open = async (kind: EngineKind): Promise<OpenedEngine | undefined> => {
      if (lost.filter((name) => name === kind.name).length > MAX_LOSSES) {
        notes.push(`${kind.name}: its device was lost ${MAX_LOSSES + 1} times`);
        return undefined;
      }
      return attempt(kind, async () => ({ ...(await kind.open(host)), kind: kind.name }));
    };
    const timed = (kind: EngineKind, { engine: opened }: OpenedEngine) => attempt(kind, () => probe(opened));
    const opened = engine === 'auto' ? await fastest(wanted, open, timed, notes) : await first(wanted, open, notes);
    if (opened !== undefined) return { ...opened, notes: [...notes, ...opened.notes] };
    throw new EdgeDitError(
      'engine-unavailable',
      `no engine runs here: ${notes.join('; ')}. WebAssembly SIMD is the least that edge-dit needs.`,
    );
  };
}

type Open = (kind: EngineKind) => Promise<OpenedEngine | undefined>;

async function first(kinds: readonly EngineKind[], open: Open, notes: string[]): Promise<OpenedEngine | undefined> {
  for (const kind of kinds) {
    const opened = await open(kind);
    if (opened === undefined) continue;
    notes.push(`${kind.name}: asked for`);
    return opened;
  }
  return undefined;
}

/** One after the other, so that they do not slow each other down; at most two are open at once. */
async function fastest(
  kinds: readonly EngineKind[],
  open: Open,
  timed: (kind: EngineKind, opened: OpenedEngine) => Promise<number | undefined>,
  notes: string[],
): Promise<OpenedEngine | undefined> {
  let best: { readonly kind: EngineKind; readonly opened: OpenedEngine; readonly ms: number } | undefined;
  for (const kind of kinds) {
    const opened = await open(kind);
    if (opened === undefined) continue;
    const ms = await timed(kind, opened);
    if (ms === undefined) {
      opened.close();
      continue;
    }
    notes.push(`${kind.name}: ${ms.toFixed(1)} ms in the probe`);
    if (best !== undefined && best.ms <= ms * CLEARLY) {
      opened.close();
      continue;
    }
    best?.opened.close();
    best = { kind, opened, ms };
  }
  if (best === undefined) return undefined;
  notes.push(`${best.kind.name}: the fastest`);
  return best.opened;
}
