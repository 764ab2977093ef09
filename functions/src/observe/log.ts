/** What happened, a line of JSON each: for whoever collects them. Prompts and keys are never in it. */

export interface LogEntry {
  readonly level: 'info' | 'warn' | 'error';
  readonly event: string;
  readonly [field: string]: unknown;
}

export type Log = (entry: LogEntry) => void;

/** To the console, where every host collects lines. @param least entries below it are left out */
export function consoleLog(least: LogEntry['level'] = 'info'): Log {
  const rank = LEVELS.indexOf(least);
  return ({ level, event, ...fields }) => {
    if (LEVELS.indexOf(level) < rank) return;
    const line = JSON.stringify({ time: new Date().toISOString(), level, event, ...fields });
    // What somebody should look at is kept apart from results, where a host has two streams.
    if (level === 'info') console.log(line);
    else console[level](line);
  };
}

const LEVELS = ['info', 'warn', 'error'] as const;

/** An error as a log has it: with its stack, which clients never see. */
export function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: String(error) };
  const { message, stack, cause } = error;
  return { error: message, stack, ...(cause instanceof Error && { cause: cause.message }) };
}
