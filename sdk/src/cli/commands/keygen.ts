/** `edge-dit keygen`: a new key pair; the private key in a file for its owner only, the public key on the screen. */
import { open } from 'node:fs/promises';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Command } from 'commander';
import { generateKeyPem, openSigningKey } from '../../trust/signing-key.ts';
import { prepareFolder } from '../files.ts';
import type { Session } from '../session.ts';

export function addKeygen(program: Command, session: Session): Command {
  return program
    .command('keygen')
    .summary('make a key to sign models with')
    .description('Makes an Ed25519 key: writes the private key (PKCS8, PEM, mode 0600) and prints the public one.')
    .requiredOption('--out <file>', 'where to write the private key; nothing is overwritten')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit keygen --out publisher.pem`,
    )
    .action(async ({ out }: { out: string }) => {
      const pem = await generateKeyPem();
      const { publicKey } = await openSigningKey(pem, out);
      await prepareFolder('--out', out);
      await writePrivate(out, pem);
      session.output.result({
        json: { privateKeyFile: out, publicKey },
        text: [
          publicKey,
          `  the public key; the private key is in ${out}: keep it secret, and a copy of it safe`,
          `Next: edge-dit quantize ... --sign ${out}, and --trust ${publicKey.slice(0, 8)}... where models are read`,
        ],
        brief: [publicKey],
      });
    });
}

/** Never over another key, and never readable by others, not even for a moment. */
async function writePrivate(path: string, pem: string): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    const reason = cause.code === 'EEXIST' ? 'exists already; a key is never overwritten' : cause.message;
    throw new EdgeDitError('invalid-argument', `--out: "${path}" ${reason}.`, { cause });
  });
  try {
    await file.writeFile(pem);
    await file.sync();
  } finally {
    await file.close();
  }
}
