/** The body of `POST /generate` in, a request for a pipeline out; or a problem that names every field that is wrong. Of `POST /embed` too. */
import { unknownName } from '@edge-dit/runtime/errors';
import type { GenerateRequest } from '@edge-dit/runtime/pipeline';
import * as z from 'zod/mini';
import type { Limits } from './limits.ts';
import { type FieldError, Problem } from './problem.ts';

export interface ParsedRequest {
  /** Undefined: the endpoint's first model. */
  readonly model: string | undefined;
  readonly request: GenerateRequest;
  /** Pictures; their seeds follow each other. */
  readonly n: number;
  /** Name of the configured address that is told when the job has ended. */
  readonly webhook: string | undefined;
  /** What was sent, in the order of the schema: two requests are the same when this is. */
  readonly sent: string;
}

/** Any integer that a seed may be, and those that are drawn where none was given: short enough to be copied by hand. */
const MAX_SEED = Number.MAX_SAFE_INTEGER;
const MAX_GUIDANCE = 100;
const MAX_NAME_LENGTH = 200;

type Schema = ReturnType<typeof generateSchema>;

/** What each field must be is its message: the answer to a client that sent something else. */
function text(least: number, most: number) {
  const message = `give a text of ${least > 0 ? `${least} to ${most}` : `at most ${most}`} characters`;
  return z.string(message).check(z.minLength(least, message), z.maxLength(most, message));
}

export function generateSchema(limits: Limits) {
  const integer = (least: number, most: number) => {
    const message = `give a whole number from ${least} to ${most}`;
    return z.optional(z.int(message).check(z.minimum(least, message), z.maximum(most, message)));
  };
  const className = 'give the number or the name of a class';
  const guidance = `give a number from 0 to ${MAX_GUIDANCE}`;
  return z.strictObject({
    model: z.optional(text(1, MAX_NAME_LENGTH)),
    prompt: z.optional(text(1, limits.promptChars)),
    class: z.optional(
      z.union(
        [
          z.int(className).check(z.minimum(0, className)),
          z.string(className).check(z.minLength(1, className), z.maxLength(MAX_NAME_LENGTH, className)),
        ],
        className,
      ),
    ),
    negative_prompt: z.optional(text(0, limits.promptChars)),
    seed: integer(0, MAX_SEED),
    steps: integer(1, limits.steps),
    guidance: z.optional(z.number(guidance).check(z.minimum(0, guidance), z.maximum(MAX_GUIDANCE, guidance))),
    width: integer(1, limits.side),
    height: integer(1, limits.side),
    n: integer(1, limits.pictures),
    webhook: z.optional(text(1, MAX_NAME_LENGTH)),
  });
}

/** @throws Problem `invalid-request` with an error for each field that is wrong */
export function createRequestParser(limits: Limits): (body: unknown) => ParsedRequest {
  const schema = generateSchema(limits);
  const fields = Object.keys(schema.shape);
  return (body) => {
    const result = schema.safeParse(body);
    const errors = result.success
      ? faultsOfSubject(result.data)
      : firstOfEach(result.error.issues.flatMap((issue) => faultsOfIssue(issue, body, fields)));
    if (!result.success || errors.length > 0) throw invalid(errors);
    const { model, n = 1, webhook, negative_prompt: negativePrompt, seed = randomSeed(), ...rest } = result.data;
    const sent = JSON.stringify(result.data);
    return { model, n, webhook, sent, request: { ...rest, negativePrompt, seed } };
  };
}

export interface EmbedRequest {
  /** Undefined: the endpoint's first model. */
  readonly model?: string;
  readonly prompt: string;
}

export const embedSchema = (limits: Limits) =>
  z.strictObject({ model: z.optional(text(1, MAX_NAME_LENGTH)), prompt: text(0, limits.promptChars) });

/** @throws Problem `invalid-request` with an error for each field that is wrong */
export function createEmbedParser(limits: Limits): (body: unknown) => EmbedRequest {
  const schema = embedSchema(limits);
  const fields = Object.keys(schema.shape);
  return (body) => {
    const result = schema.safeParse(body);
    if (result.success) return result.data;
    throw invalid(firstOfEach(result.error.issues.flatMap((issue) => faultsOfIssue(issue, body, fields))));
  };
}

/** The problem of a request that a model refused: messages of `invalid-request` say which field they are about. */
export function refusedByModel(message: string): Problem {
  const field = /\b(prompt|class|seed|steps|guidance|width|height)\b/.exec(message)?.[1];
  return new Problem('invalid-request', message, {
    errors: field === undefined ? undefined : [{ pointer: `#/${field}`, detail: message }],
  });
}

/** The problem of one field. */
export function refusedField(field: string, detail: string): Problem {
  return invalid([{ pointer: `#/${field}`, detail }]);
}

function invalid(errors: readonly FieldError[]): Problem {
  const detail = errors.map(({ pointer, detail }) => `${pointer.slice(2) || 'the body'}: ${detail}`).join('; ');
  return new Problem('invalid-request', `${detail}.`, { errors });
}

/** A picture is of a prompt or of a class; each has a seed. */
function faultsOfSubject(body: z.infer<Schema>): FieldError[] {
  const { seed = 0, n = 1 } = body;
  // The sum would be rounded.
  if (seed > MAX_SEED - (n - 1)) {
    return [
      { pointer: '#/seed', detail: `the pictures have the seeds ${seed} to ${seed} + ${n - 1}: give a smaller one` },
    ];
  }
  const both = 'give a prompt or a class, not both';
  if (body.prompt !== undefined && body.class !== undefined) return [{ pointer: '#/class', detail: both }];
  if (body.prompt === undefined && body.class === undefined) {
    return [{ pointer: '#/prompt', detail: 'give a prompt (or a class, for models of classes)' }];
  }
  if (body.class !== undefined && body.negative_prompt !== undefined) {
    return [{ pointer: '#/negative_prompt', detail: 'goes with a prompt, not with a class' }];
  }
  return [];
}

/** At most so many unknown fields are named: a body has room for thousands. */
const MAX_UNKNOWN = 5;

function faultsOfIssue(issue: z.core.$ZodIssue, body: unknown, fields: readonly string[]): FieldError[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.slice(0, MAX_UNKNOWN).map((key) => ({
      pointer: `#/${escapePointer(key.slice(0, 100))}`,
      detail: unknownName('field', key, fields).message.replace(/\.$/, ''),
    }));
  }
  if (issue.path.length === 0) return [{ pointer: '#', detail: `got ${shown(body)}, give a JSON object` }];
  const field = String(issue.path[0]);
  const got = shown((body as Record<string, unknown>)[field]);
  return [{ pointer: `#/${field}`, detail: `got ${got}, ${issue.message}` }];
}

/** A value may break several rules of its field, which all have one message. */
function firstOfEach(errors: readonly FieldError[]): FieldError[] {
  return errors.filter(({ pointer }, i) => errors.findIndex((other) => other.pointer === pointer) === i);
}

const escapePointer = (key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1');

/** A value as messages show it: short, and texts by their length only. */
function shown(value: unknown): string {
  if (typeof value === 'string') return `a text of ${value.length} characters`;
  if (Array.isArray(value)) return 'a list';
  return value !== null && typeof value === 'object' ? 'an object' : String(value);
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
