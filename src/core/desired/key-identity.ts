import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { isCertificate } from '../commit/openpgp-certificate.ts';
import { claimedKeys } from '../commit/openpgp-read-certificate.ts';
import { parseSshPublicKey } from '../commit/ssh-key.ts';

/**
 * Which keys these are: sha256 of the SPKI DER of each, so that one key has one identity as an OpenSSH line, as PEM, and as a key or subkey
 * of an OpenPGP certificate.
 * @param key an OpenSSH public key line, PEM of an SPKI public key, or an armoured OpenPGP certificate
 * @returns null when it is neither, or is one that may not sign (T4, T5)
 */
export function keyIdentities(key: string): readonly string[] | null {
  const objects = key.startsWith('-----BEGIN PUBLIC KEY-----') ? p256Of(key) : isCertificate(key) ? certificateKeysOf(key) : sshKeyOf(key);
  if (objects === null) return null;
  return [...new Set(objects.map((object) => createHash('sha256').update(object.export({ type: 'spki', format: 'der' })).digest('hex')))];
}

function sshKeyOf(line: string): readonly KeyObject[] | null {
  const outcome = parseSshPublicKey(line);
  return outcome.ok ? [outcome.key.keyObject] : null;
}

function certificateKeysOf(armoured: string): readonly KeyObject[] | null {
  const keys = claimedKeys(armoured);
  return 'code' in keys ? null : keys.map(({ material }) => material.keyObject);
}

function p256Of(pem: string): readonly KeyObject[] | null {
  try {
    const object = createPublicKey({ key: pem, format: 'pem', type: 'spki' });
    return object.asymmetricKeyType === 'ec' && object.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? [object] : null;
  } catch {
    // Whatever OpenSSL complains of, these bytes are no public key.
    return null;
  }
}
