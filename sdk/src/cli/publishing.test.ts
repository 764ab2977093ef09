/** Keys, publishing, copying, rolling back and pruning, as a shell does it. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { documentOf, refused, runCli } from './testing/run-cli.ts';
import { makeTinyPipeline } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-publishing-'));
after(() => rm(root, { recursive: true }));
const cli = (...args: string[]) => runCli(args, root);

// biome-ignore lint/suspicious/noExplicitAny: documents of several commands
async function document(...args: string[]): Promise<any> {
  return documentOf(await cli(...args, '--json'));
}

let key: string;
let other: string;

before(async () => {
  await makeTinyPipeline(root, 'dit');
  key = (await document('keygen', '--out', 'keys/a.pem')).publicKey;
  other = (await document('keygen', '--out', 'keys/b.pem')).publicKey;
  await document('quantize', 'dit', '--recipe', 'w4a8', '--out', 'models', '--name', 'm', '--sign', 'keys/a.pem');
});

test('keygen: for the owner only, never over another, and the public key on the screen', async () => {
  assert.match(key, /^[0-9a-f]{64}$/);
  assert.equal((await stat(join(root, 'keys/a.pem'))).mode & 0o777, 0o600);
  const pem = await readFile(join(root, 'keys/a.pem'), 'utf8');
  refused(await cli('keygen', '--out', 'keys/a.pem'), 2, /"keys\/a\.pem" exists already; a key is never overwritten/);
  assert.equal(await readFile(join(root, 'keys/a.pem'), 'utf8'), pem);
  const { stdout } = await cli('keygen', '--out', 'keys/c.pem');
  assert.ok(!stdout.includes(pem.split('\n')[1]));
});

test('quantize --sign: signed, and the same again changes nothing', async () => {
  const again = ['quantize', 'dit', '--recipe', 'w4a8', '--out', 'models', '--name', 'm', '--sign', 'keys/a.pem'];
  assert.equal((await document(...again)).pointer, 'unchanged');
  const { signature } = await document('inspect', 'models');
  assert.deepEqual([signature.key, signature.expires], [key, null]);
  assert.equal((await document('verify', 'models', '--trust', key)).ok, true);
  refused(await cli(...again.slice(0, -2), '--expires-in', '90d'), 2, /--expires-in is of a signature: give a key/);
  await writeFile(join(root, 'junk.pem'), 'SECRET');
  const junk = await cli(...again.slice(0, -1), 'junk.pem');
  refused(junk, 2, /--sign: junk\.pem is not an unencrypted Ed25519 private key/);
  assert.doesNotMatch(junk.stderr, /SECRET/);
});

test('--trust: what others signed, or what is too old, is refused before anything of it is used', async () => {
  const generate = ['generate', '--model', 'models', '--class', '1', '--steps', '1', '--out', 'x.png'];
  await document(...generate, '--trust', key, '--trust', other);
  refused(await cli(...generate, '--trust', other), 3, /manifest-untrusted: .*not a trusted key/);
  refused(
    await cli(...generate, '--trust', key, '--minimum-sequence', '9007199254740991'),
    3,
    /manifest-untrusted: .*an old version/,
  );
  refused(await cli(...generate, '--minimum-sequence', '1'), 2, /give a key with --trust/);
  refused(await cli(...generate, '--trust', 'keys/a.pem'), 2, /--trust.*Expected a public key: 64 lower-case hex/);
  const serve = ['serve', '--model', 'models', '--target', 'node', '--port', '0', '--trust', other];
  refused(await cli(...serve), 3, /manifest-untrusted/);
  const verified = await cli('verify', 'models', '--trust', other);
  assert.equal(verified.code, 1);
  assert.match(verified.stdout, /manifest: .*not a trusted key/);
});

test('publish: says what it would send, sends it once, and signs', async () => {
  const publish = ['publish', 'models', '--to', 'store'];
  const dry = await document(...publish, '--dry-run');
  assert.equal(dry.sent.objects, 3);
  refused(await cli('inspect', 'store/m'), 3, /model-not-found/);
  const first = await document(...publish, '--parallel', '2');
  assert.deepEqual([first.sent, first.pointer], [dry.sent, 'created']);
  const second = await cli(...publish);
  assert.match(
    second.stdout,
    /^Already there: m in file:.*\n +sent +0 objects, 0 bytes\n +saved +3 objects, .*100\.0 %/,
  );
  const signed = await document(...publish, '--sign', 'keys/b.pem', '--expires-in', '30d');
  assert.deepEqual([signed.pointer, signed.sent.objects, signed.signature.key], ['updated', 1, other]);
  assert.ok(Date.parse(signed.signature.expires) - Date.now() > 29 * 86_400_000);
});

test('sign, list, rollback, copy, prune', async () => {
  const signed = await document('sign', 'store', '--key', 'keys/a.pem', '--expires-in', '1d');
  assert.equal(signed.signature.key, key);
  const [{ model, versions }] = (await document('list', 'store')).models;
  assert.deepEqual([model, versions.length, versions[0].manifest], ['m', 3, signed.digest]);
  assert.match((await cli('list', 'store')).stdout, new RegExp(`m +${signed.digest} +20\\S+Z +current\n`));
  const rolled = await document('rollback', 'store/m', '--to', versions[2].manifest.slice(0, 12));
  assert.deepEqual([rolled.digest, rolled.from], [versions[2].manifest, signed.digest]);
  refused(await cli('rollback', 'store/m', '--to', 'f00'), 2, /none begins with "f00"\. It has:\n/);
  assert.match((await cli('rollback', 'store/m')).stdout, /^Rolled back m: /);
  const older = await cli('rollback', 'store/m', '--to', versions[1].manifest.slice(0, 12));
  assert.equal(older.code, 0, older.stderr);

  const copied = await document('copy', 'm', '--from', 'models', '--to', 'copy', '--trust', key);
  assert.equal(copied.digest, (await document('inspect', 'models')).digest);
  refused(await cli('copy', 'm', '--from', 'store', '--to', 'copy2', '--trust', key), 3, /manifest-untrusted/);
  refused(await cli('copy', 'a/b', '--from', 'store', '--to', 'copy2'), 2, /"a\/b" is not the name of a model/);
  refused(await cli('copy', 'm', '--from', 'models', '--to', 'https://x.example'), 2, /can only be read/);

  const orphan = join(root, 'copy/shards', 'a'.repeat(64));
  await writeFile(orphan, 'nobody');
  assert.deepEqual(
    await document('prune', 'copy').then((pruned) => [pruned.deletedObjects, pruned.youngObjects]),
    [0, 1],
  );
  const count = (await readdir(join(root, 'copy/shards'))).length;
  assert.equal((await document('prune', 'copy', '--grace', '0s', '--dry-run')).deletedObjects, 1);
  assert.match((await cli('prune', 'copy', '--grace', '0s')).stdout, /deleted +1 object, 6 bytes/);
  assert.equal((await readdir(join(root, 'copy/shards'))).length, count - 1);
  assert.equal((await document('verify', 'copy')).ok, true);
  refused(await cli('prune', 'copy', '--grace', '1 day'), 2, /--grace.*Expected a time such as 90d, 24h, 30m or 10s/);
});
