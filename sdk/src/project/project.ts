/**
 * A project of `edge-dit init`: a folder with `edge-dit.json`. In: the folder. Out: its settings, checked, and as the variables
 * that an endpoint reads. What is wrong is said of the file and the field.
 */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { endpointSettings } from '@edge-dit/functions/environment';
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import * as z from 'zod';

export const CONFIG_FILE = 'edge-dit.json';

const VARIABLE = /^[A-Z][A-Z0-9_]*$/;

const schema = z.strictObject({
  $schema: z.string().optional(),
  /** Names of models; the first is the default. */
  models: z.array(z.string().min(1)).min(1),
  /** Where `edge-dit dev` reads them: a folder (from the project), s3://bucket/prefix, or an address. */
  store: z.string().min(1).default('./models'),
  memoryLimitMb: z.number().min(1).max(65_536).optional(),
  limits: z.record(z.string(), z.unknown()).optional(),
  trust: z.record(z.string(), z.unknown()).optional(),
  /** Main module of the worker, by target. */
  entry: z.record(z.string(), z.string().min(1)).optional(),
  /** Other variables of the endpoint, by their names. No secrets: these are in the bundle. */
  variables: z
    .record(z.string(), z.string())
    .refine(
      (found) => Object.keys(found).every((name) => VARIABLE.test(name)),
      'names are upper case, such as CORS_ORIGINS',
    )
    .optional(),
});

export interface Project {
  readonly folder: string;
  readonly configFile: string;
  readonly models: readonly string[];
  /** A folder is absolute. */
  readonly store: string;
  readonly variables: Readonly<Record<string, string>>;
  /** Absolute path of the main module, where the project has its own. */
  entryFor(target: string): string | undefined;
}

/**
 * @param folder where it must be; without it the current folder, which need not have one
 * @throws EdgeDitError `invalid-argument` naming file and field
 */
export async function openProject(folder?: string): Promise<Project | undefined> {
  const root = resolve(folder ?? '.');
  const configFile = join(root, CONFIG_FILE);
  const text = await readFile(configFile, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' && folder === undefined) return undefined;
    const reason = cause.code === 'ENOENT' ? 'does not exist; "edge-dit init" writes one' : cause.message;
    throw new EdgeDitError('invalid-argument', `${configFile} ${reason}.`, { cause });
  });
  if (text === undefined) return undefined;
  const { models, store, memoryLimitMb, limits, trust, entry = {}, variables = {} } = parse(configFile, text);
  const all: Record<string, string> = { ...variables, MODELS: models.join(',') };
  if (memoryLimitMb !== undefined) all.MEMORY_LIMIT_MB = String(memoryLimitMb);
  if (limits !== undefined) all.LIMITS = JSON.stringify(limits);
  if (trust !== undefined) all.TRUST = JSON.stringify(trust);
  checkVariables(configFile, all);
  return {
    folder: root,
    configFile,
    models,
    // A scheme of one letter is a drive of Windows.
    store: /^[A-Za-z][A-Za-z0-9+.-]+:/.test(store) ? store : resolve(root, store),
    variables: all,
    entryFor: (target) => (Object.hasOwn(entry, target) ? resolve(root, entry[target]) : undefined),
  };
}

function parse(file: string, text: string): z.infer<typeof schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EdgeDitError('invalid-argument', `${file} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new EdgeDitError('invalid-argument', `${file}: ${issue.path.join('.') || 'the file'}: ${issue.message}.`);
}

/** The endpoint's own check, now and not at its first request. */
function checkVariables(file: string, variables: Readonly<Record<string, string>>): void {
  try {
    endpointSettings(variables);
  } catch (error) {
    if (!isEdgeDitError(error)) throw error;
    throw new EdgeDitError('invalid-argument', `${file}: ${error.message}`, { cause: error });
  }
}
