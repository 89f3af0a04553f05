import { createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto, type KeyObject } from 'node:crypto';

/** The one kind of key that agents, servers and their authority use: P-256 with SHA-256. */
export const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A new P-256 private key, PKCS #8 PEM. */
export function newPrivateKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function demandP256(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
  throw new RangeError('the key is not an elliptic curve key on P-256: create one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`');
}

/** SPKI DER of the public half. @throws RangeError unless it is a P-256 key. */
export function publicKeyDer(privateKeyPem: string): Uint8Array {
  return createPublicKey(demandP256(createPrivateKey(privateKeyPem))).export({ type: 'spki', format: 'der' });
}

/** SPKI DER, in its one canonical form, of a P-256 public key in PEM. @throws when it is anything else. */
export function publicKeyDerOfPem(publicKeyPem: string): Uint8Array {
  return demandP256(createPublicKey(publicKeyPem)).export({ type: 'spki', format: 'der' });
}

/** The pair for WebCrypto. @throws RangeError unless it is a P-256 key. */
export async function webCryptoPair(privateKeyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const key = demandP256(createPrivateKey(privateKeyPem));
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, P256, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, P256, true, ['verify']),
  };
}
