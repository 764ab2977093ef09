import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isEdgeDitError } from './errors.ts';
import { type Manifest, parseManifest, serializeManifest } from './format/manifest.ts';
import { fuzzTrust } from './testing/fuzz-trust.ts';
import { checkTrust, isSignatureValid, parseTrustPolicy, signedBytes, type TrustPolicy } from './trust.ts';

const fixtures = fileURLToPath(new URL('../fixtures/format-v1/manifests', import.meta.url));
const unsigned = parseManifest(new Uint8Array(readFileSync(`${fixtures}/${readdirSync(fixtures)[0]}`)));

/** RFC 8032, 7.1, test 1: a key that everybody knows. */
const SECRET = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60';
const PUBLIC = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
/** By OpenSSL 3: `jq -cS 'del(.signature.value)' manifest.json | openssl pkeyutl -sign -rawin -inkey key.pem`. */
const SIGNATURE =
  '79ad66c984ac961a61b3b6a4b154b426a564f0084e23514e1576262efdc95fe77c694007db9a01437c7c4757089e67982b816b3bad25e9d8d299c2bd0d58b206';

const about = { issued: '2026-01-01T00:00:00Z', sequence: 7 } as const;
const signedWith = (value: string, changes: Partial<Manifest['signature']> = {}): Manifest => ({
  ...unsigned,
  signature: { algorithm: 'Ed25519', key: PUBLIC, ...about, value, ...changes },
});

async function sign(changes: Partial<Manifest['signature']> = {}): Promise<Manifest> {
  const pkcs8 = Buffer.from(`302e020100300506032b657004220420${SECRET}`, 'hex');
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign']);
  const value = await crypto.subtle.sign('Ed25519', key, signedBytes(signedWith('', changes)));
  return signedWith(Buffer.from(value).toString('hex'), changes);
}

const policy: TrustPolicy = { keys: ['0'.repeat(64), PUBLIC] };

async function refused(manifest: Manifest, trust: TrustPolicy, message: RegExp): Promise<void> {
  await assert.rejects(checkTrust(manifest, trust, 'it'), (error) => {
    assert.ok(isEdgeDitError(error, 'manifest-untrusted'), String(error));
    assert.match(error.message, message);
    return true;
  });
}

test('a signature made by OpenSSL over what jq wrote is accepted, and ours is the same', async () => {
  await checkTrust(signedWith(SIGNATURE), policy, 'it');
  assert.deepEqual((await sign()).signature?.value, SIGNATURE);
  assert.ok(await isSignatureValid(parseManifest(serializeManifest(signedWith(SIGNATURE)))));
});

test('what is not signed by a trusted key, over this manifest, is refused with what to do', async () => {
  const good = await sign();
  await refused(unsigned, policy, /it: not signed; sign it with a trusted key/);
  await refused(good, { keys: [] }, new RegExp(`signed by ${PUBLIC}, which is not a trusted key`));
  await refused({ ...good, license: 'MIT' }, policy, /changed after it was signed/);
  await refused({ ...good, 'x-more': 1 }, policy, /changed after it was signed/);
  await refused(signedWith(SIGNATURE, { sequence: 8 }), policy, /changed after it was signed/);
  await refused(signedWith(SIGNATURE, { expires: '2999-01-01T00:00:00Z' }), policy, /changed after it was signed/);
  await refused(signedWith('0'.repeat(128)), policy, /changed after it was signed/);
});

test('what has expired, or is older than the least sequence, is refused although its signature is good', async () => {
  await checkTrust(await sign({ expires: '2999-12-31T23:59:59Z' }), policy, 'it');
  await refused(
    await sign({ expires: '2026-01-02T00:00:00Z' }),
    policy,
    /expired at 2026-01-02T00:00:00Z; sign it again/,
  );
  await refused(await sign({ expires: '2999-13-45T00:00:00Z' }), policy, /expired/);
  const least = (sequence: number) => ({ ...policy, minimumSequence: { tiny: sequence, other: 99 } });
  await checkTrust(await sign(), least(7), 'it');
  await refused(await sign(), least(8), /an old version, sequence 7 where 8 is the least/);
});

test('where signatures are not required, a manifest without one passes, and one with a bad one does not', async () => {
  const lenient = { ...policy, required: false };
  await checkTrust(unsigned, lenient, 'it');
  await refused(signedWith('0'.repeat(128)), lenient, /changed/);
  await refused(await sign(), { keys: [], required: false }, /not a trusted key/);
});

test('a policy of the configuration is taken whole or not at all', () => {
  assert.deepEqual(parseTrustPolicy(JSON.stringify({ ...policy, minimumSequence: { tiny: 3 } })), {
    ...policy,
    minimumSequence: { tiny: 3 },
  });
  for (const json of [
    '',
    'yes',
    'null',
    '[]',
    '{}',
    '{"key":["x"]}',
    `{"keys":"${PUBLIC}"}`,
    `{"keys":["${PUBLIC.toUpperCase()}"]}`,
    `{"keys":["${PUBLIC}"],"requried":false}`,
    `{"keys":["${PUBLIC}"],"required":"no"}`,
    `{"keys":["${PUBLIC}"],"minimumSequence":7}`,
    `{"keys":["${PUBLIC}"],"minimumSequence":{"tiny":"7"}}`,
  ]) {
    assert.throws(
      () => parseTrustPolicy(json),
      (error) => isEdgeDitError(error, 'invalid-argument'),
      json,
    );
  }
});

test('3,000 forged manifests: none is accepted that was not signed', { timeout: 180_000 }, async (t) => {
  const results = await fuzzTrust(unsigned, 3000, 20_261_122);
  t.diagnostic(JSON.stringify(results));
  assert.ok(results.refused['manifest-untrusted'] > 1000 && results.refused['manifest-invalid'] > 300);
});
