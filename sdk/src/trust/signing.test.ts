/** Keys, and the signatures that publishing makes with them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { checkTrust } from '@edge-dit/runtime/trust';
import { publish } from '../publish/publish.ts';
import { VersionedModels } from '../testing/versioned-models.ts';
import { signManifest } from './sign-manifest.ts';
import { generateKeyPem, openSigningKey } from './signing-key.ts';

/** RFC 8032, 7.1, test 1, as OpenSSL writes it. */
const RFC_PEM =
  '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n';

const models = await VersionedModels.make();
const key = await openSigningKey(await generateKeyPem(), 'the key');
const trust = { keys: [key.publicKey] };
const DAY = 86_400_000;

test('keys of OpenSSL are read, and what is none is refused without being shown', async () => {
  const { publicKey } = await openSigningKey(RFC_PEM, 'it');
  assert.equal(publicKey, 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a');
  const secret = 'SECRETSECRETSECRET';
  for (const pem of ['', secret, RFC_PEM.replace('MC4C', secret), RFC_PEM.replaceAll('PRIVATE', `ENCRYPTED PRIVATE`)]) {
    await assert.rejects(openSigningKey(pem, '--sign: a.pem'), (error) => {
      assert.ok(isEdgeDitError(error, 'invalid-argument'));
      assert.match(error.message, /--sign: a\.pem is not an unencrypted Ed25519 private key in PEM; make one with/);
      assert.ok(!inspect(error, { depth: 9 }).includes(secret));
      return true;
    });
  }
});

test('publishing signs; again, it changes nothing until half of the time is over', async () => {
  const store = new MemoryStore();
  const model = await models.version('m', 1);
  const first = await publish({ ...model, store, sign: { key, validForMs: 90 * DAY } });
  const { manifest } = await loadManifest(store, 'm', { trust });
  assert.equal(manifest.signature?.key, key.publicKey);
  const again = await publish({ ...model, store, sign: { key, validForMs: 90 * DAY } });
  assert.deepEqual([again.pointer, again.sentObjects, again.digest], ['unchanged', 0, first.digest]);
  const longer = await publish({ ...model, store, sign: { key, validForMs: 181 * DAY } });
  assert.deepEqual([longer.pointer, longer.sentObjects], ['updated', 1]);
  const other = await publish({ ...(await models.version('m', 3)), store, sign: { key, validForMs: 90 * DAY } });
  assert.ok(other.manifest.signature!.sequence > longer.manifest.signature!.sequence);
});

test('a sequence grows, whatever the clock says, but not by what others wrote', async () => {
  const { manifest } = await models.version('m', 1);
  const at = Date.parse('2026-05-01T00:00:00Z');
  const first = await signManifest(manifest, { key }, undefined, at);
  assert.equal(first.signature!.sequence, at / 1000);
  assert.equal(first.signature!.issued, '2026-05-01T00:00:00Z');
  const earlier = await signManifest({ ...manifest, license: 'MIT' }, { key }, first, at - DAY);
  assert.equal(earlier.signature!.sequence, at / 1000 + 1);
  assert.equal((await signManifest(manifest, { key }, first, at + DAY)).signature!.sequence, at / 1000, 'kept');
  const renewed = await signManifest(manifest, { key, renew: true }, first, at + DAY);
  assert.equal(renewed.signature!.sequence, at / 1000 + DAY / 1000);
  const forged = { ...first, signature: { ...first.signature!, sequence: Number.MAX_SAFE_INTEGER } };
  const after = await signManifest(manifest, { key }, forged, at);
  assert.equal(after.signature!.sequence, at / 1000);
  await checkTrust(after, trust, 'it');
});
