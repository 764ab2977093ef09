/**
 * A calibration that can be stopped at any moment and continued: what is done so far lies beside the file, in
 * `<out>.partial`, until all of it is. A calibration that was stopped gives the bytes of one that was not.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type CalibrateOptions, calibrateRest, settingsOf } from './calibrate.ts';
import type { Calibration, CalibrationSettings, CalibrationState } from './calibration.ts';
import { parseCalibration, parseState, serializeCalibration } from './calibration-file.ts';

export interface CalibrateToFileOptions extends CalibrateOptions {
  readonly out: string;
  /** Forgets what an earlier call did. */
  readonly restart?: boolean;
  /** Milliseconds between two savings: about as much is lost at most. Default 20 s. */
  readonly saveEvery?: number;
  /** How many conditions an earlier call had done. */
  readonly onResume?: (done: number, total: number) => void;
}

/** Well below a minute, and rare enough to be free. */
const SAVE_EVERY_MS = 20_000;

/**
 * Calibrates, and writes the file at once when all is done.
 * @throws `precondition-failed` when what is there was begun with other settings, or is damaged
 */
export async function calibrateToFile(options: CalibrateToFileOptions): Promise<Calibration> {
  const { out, restart = false, saveEvery = SAVE_EVERY_MS, onResume } = options;
  const partial = `${out}.partial`;
  const settings = await settingsOf(options);
  const state = (restart ? undefined : await readPartial(partial, settings)) ?? { settings, done: 0, groups: [] };
  if (state.done > 0) onResume?.(state.done, settings.conditions.length);
  let saved = { done: state.done, at: performance.now() };
  let saving = Promise.resolve();
  const save = () => {
    saved = { done: state.done, at: performance.now() };
    const bytes = serializeCalibration(state);
    return (saving = saving.then(() => writeWhole(partial, bytes)));
  };
  try {
    await calibrateRest(options, state, async () => {
      if (performance.now() - saved.at >= saveEvery) await save();
    });
  } catch (error) {
    await (state.done > saved.done ? save() : saving);
    throw error;
  }
  const bytes = serializeCalibration(state);
  await writeWhole(out, bytes);
  for (const path of [partial, `${partial}.new`]) await rm(path, { force: true });
  return parseCalibration(bytes, out);
}

/** There is the old file or the new one, and never a part. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(`${path}.new`, bytes);
  await rename(`${path}.new`, path);
}

async function readPartial(path: string, settings: CalibrationSettings): Promise<CalibrationState | undefined> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (bytes === undefined) return undefined;
  let state: CalibrationState;
  try {
    state = parseState(bytes, path);
  } catch (cause) {
    throw refused(`${(cause as Error).message} It cannot be continued`, cause);
  }
  const names = Object.keys(settings) as (keyof CalibrationSettings)[];
  const differing = names.filter((name) => JSON.stringify(settings[name]) !== JSON.stringify(state.settings[name]));
  if (differing.length === 0) return state;
  const details = differing.map((name) => `${name} ${short(state.settings[name])}, now ${short(settings[name])}`);
  throw refused(`${path} was begun with other settings (${details.join('; ')}). Give those again to continue it`);
}

function short(value: unknown): string {
  const text = Array.isArray(value) ? `${value.length} of them` : String(value);
  return text.length > 16 ? `${text.slice(0, 12)}…` : text;
}

const refused = (fault: string, cause?: unknown) =>
  new EdgeDitError('precondition-failed', `${fault}, or start anew with --restart.`, { cause });
