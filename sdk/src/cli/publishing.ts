/** What the commands that publish, copy and sign have in common: options, progress while they run, and what they say at the end. */
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import type { Command } from 'commander';
import { type CopyModelOptions, copyModel } from '../publish/copy-model.ts';
import type { Published } from '../publish/publication.ts';
import { openWritableStore } from '../stores.ts';
import { integer, lookup } from './option-values.ts';
import type { Progress, Result } from './output.ts';
import { longBytes, plural, shortBytes } from './quantities.ts';
import type { Session } from './session.ts';

export interface SendingFlags {
  readonly to: WritableStore;
  readonly parallel: number;
  readonly dryRun: boolean;
}

/** Where to, and how. */
export function addSendingOptions(command: Command): Command {
  return command
    .requiredOption(
      '--to <store>',
      'folder or s3://bucket/prefix',
      lookup((place) => openWritableStore(place)),
    )
    .option('--parallel <n>', 'objects on their way at once', integer(1, 32), 4)
    .option('--dry-run', 'only say what would be sent', false);
}

/** `copyModel` with a bar. */
export async function copyWithProgress(
  { output, signal }: Session,
  title: string,
  options: Omit<CopyModelOptions, 'signal' | 'onProgress' | 'onTotal'>,
): Promise<Published> {
  let bar: Progress | undefined;
  try {
    return await copyModel({
      ...options,
      signal,
      onTotal: (_objects, bytes) => {
        bar = output.progress(title, bytes, 'bytes');
      },
      onProgress: ({ sentBytes, skippedBytes }) => bar?.update(sentBytes + skippedBytes, skippedBytes),
    });
  } finally {
    bar?.stop();
  }
}

/** Of a model in its new place, or of what would be there. */
export function publishedResult(
  verb: string,
  { store, published, dryRun = false }: { store: WritableStore; published: Published; dryRun?: boolean },
): Result {
  const { manifest, digest, pointer, sentObjects, sentBytes, skippedObjects, skippedBytes } = published;
  const { model, signature } = manifest;
  const head = dryRun
    ? `Would have ${verb} ${model}: ${store.name}`
    : pointer === 'unchanged'
      ? `Already there: ${model} in ${store.name}`
      : `${verb[0].toUpperCase()}${verb.slice(1)} ${model}: ${store.name}`;
  return {
    json: {
      model,
      store: store.name,
      digest,
      pointer,
      dryRun,
      sent: { objects: sentObjects, bytes: sentBytes },
      skipped: { objects: skippedObjects, bytes: skippedBytes },
      signature: signatureFacts(published.manifest),
    },
    text: [
      head,
      `  ${dryRun ? 'to send ' : 'sent    '} ${plural(sentObjects, 'object')}, ${longBytes(sentBytes)}`,
      `  saved    ${plural(skippedObjects, 'object')}, ${longBytes(skippedBytes)}: there already${shareOf(skippedBytes, sentBytes)}`,
      ...(signature === undefined ? [] : [`  signed   ${signatureLine(published.manifest)}`]),
      // A signature holds the time, so the digest of a manifest that was not published says nothing.
      ...(dryRun ? [] : [`  digest   ${digest}`]),
    ],
    brief: dryRun ? [shortBytes(sentBytes)] : [digest],
  };
}

export function signatureFacts({ signature }: Published['manifest']) {
  if (signature === undefined) return null;
  const { key, issued, expires, sequence } = signature;
  return { key, issued, expires: expires ?? null, sequence };
}

export function signatureLine({ signature }: Published['manifest']): string {
  if (signature === undefined) return 'no';
  const { key, sequence, expires } = signature;
  return `by ${key}, sequence ${sequence}, ${expires === undefined ? 'without expiry' : `until ${expires}`}`;
}

function shareOf(part: number, rest: number): string {
  return part === 0 ? '' : `, ${((100 * part) / (part + rest)).toFixed(1)} % of the model`;
}
