import { createHash, createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto';
import type { RecordSigner } from '../../ports/signing.ts';
import { KeyError } from './key-error.ts';

/**
 * The key that signs records (T29, role `decisions`).
 * @param pem PKCS #8, P-256. @param where names the key in errors.
 * @throws KeyError
 */
export function openRecordSigner(pem: string, where: string): RecordSigner {
  const key = privateKeyOf(pem, where);
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new KeyError('KeyUnsupported', `${where} is not a P-256 key: make one with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`);
  }
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return {
    keyId: createHash('sha256').update(spki).digest('hex'),
    sign: (preAuthEncoding) => sign('sha256', preAuthEncoding, { key, dsaEncoding: 'der' }),
  };
}

function privateKeyOf(pem: string, where: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // No cause: what OpenSSL says may quote the text.
    throw new KeyError('KeyUnreadable', `${where} is not a private key in PEM without a passphrase`);
  }
}
