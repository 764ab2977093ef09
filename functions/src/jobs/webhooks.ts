/**
 * Tells an address that a job has ended, signed as Standard Webhooks says (HMAC-SHA256 over id, time and body). Addresses are
 * of the configuration and requests only name them; answers that lead elsewhere are not followed.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { encodeBase64 } from 'hono/utils/encode';
import * as z from 'zod/mini';
import type { JobAnswer } from '../api/answers.ts';

export interface WebhookSettings {
  /** By the name that requests give. */
  readonly addresses: Readonly<Record<string, string>>;
  /** Of the signature; at least 24 characters. */
  readonly secret: string;
}

const TIMEOUT_MS = 10_000;
const LEAST_SECRET = 24;
const addresses = z.record(z.string().check(z.regex(/^[\w.-]{1,64}$/)), z.url());

/** @param json of addresses by name. @throws EdgeDitError `invalid-argument` */
export function parseWebhooks(json: string | undefined, secret: string | undefined): WebhookSettings | undefined {
  if (json === undefined) return undefined;
  const wrong = (reason: string) => new EdgeDitError('invalid-argument', `WEBHOOKS: ${reason}.`);
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch {
    throw wrong('is not JSON; write {"name": "https://host/path"}');
  }
  const result = addresses.safeParse(given);
  if (!result.success) throw wrong('write {"name": "https://host/path"}, names of letters, digits, dots and dashes');
  for (const [name, address] of Object.entries(result.data)) {
    const { protocol, hostname, username } = new URL(address);
    const local = protocol === 'http:' && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(hostname);
    if ((protocol !== 'https:' && !local) || username !== '') throw wrong(`"${name}" is not an https:// address`);
  }
  if (secret === undefined || secret.length < LEAST_SECRET) {
    throw wrong(`set WEBHOOK_SECRET, of ${LEAST_SECRET} characters at least, by which receivers check the signature`);
  }
  return { addresses: result.data, secret };
}

/** Once; a job is told of again when this fails. @returns why it failed, or undefined */
export async function tellWebhook(
  { addresses, secret }: WebhookSettings,
  name: string,
  job: JobAnswer,
  now: number,
): Promise<string | undefined> {
  const address = addresses[name];
  if (address === undefined) return `"${name}" is not configured any more`;
  const body = JSON.stringify({ type: `job.${job.status}`, timestamp: job.completed_at, data: job });
  const id = `msg_${job.id}`;
  const timestamp = String(Math.floor(now / 1000));
  try {
    const response = await fetch(address, {
      method: 'POST',
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${await signature(secret, `${id}.${timestamp}.${body}`)}`,
      },
      body,
    });
    await response.body?.cancel();
    return response.ok ? undefined : `it answered ${response.status}`;
  } catch (error) {
    return (error as Error).message;
  }
}

async function signature(secret: string, text: string): Promise<string> {
  const encoder = new TextEncoder();
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), algorithm, false, ['sign']);
  return encodeBase64(await crypto.subtle.sign('HMAC', key, encoder.encode(text)));
}
