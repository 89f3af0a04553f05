import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { parseSshPublicKey } from '../commit/ssh-key.ts';

/**
 * Which key this is: sha256 of its SPKI DER, so that one key has one identity as an OpenSSH line and as PEM.
 * @param key an OpenSSH public key line, or PEM of an SPKI public key
 * @returns null when it is neither, or is one that may not sign (T4)
 */
export function keyIdentity(key: string): string | null {
  const object = key.startsWith('-----BEGIN PUBLIC KEY-----') ? p256Of(key) : sshKeyOf(key);
  return object === null ? null : createHash('sha256').update(object.export({ type: 'spki', format: 'der' })).digest('hex');
}

function sshKeyOf(line: string): KeyObject | null {
  const outcome = parseSshPublicKey(line);
  return outcome.ok ? outcome.key.keyObject : null;
}

function p256Of(pem: string): KeyObject | null {
  try {
    const object = createPublicKey({ key: pem, format: 'pem', type: 'spki' });
    return object.asymmetricKeyType === 'ec' && object.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? object : null;
  } catch {
    // Whatever OpenSSL complains of, these bytes are no public key.
    return null;
  }
}
