import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import type { IdentityIssuerSpec } from '../../src/core/model/documents.ts';

export type TokenEdits = {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Signs with another key than that of the issuer. */
  readonly key?: KeyObject;
  /** HMAC with these bytes in the place of a signature. */
  readonly hmac?: string;
  /** In the place of the JSON of the claims. */
  readonly text?: string;
};

/** An OpenID Connect issuer that signs whatever it is told: its tokens are what a pipeline gets from a forge. */
export class IdentityIssuer {
  readonly issuer: string;
  readonly publicKey: string;
  readonly #key: KeyObject;
  readonly #algorithm: 'ES256' | 'RS256';

  constructor(issuer: string, algorithm: 'ES256' | 'RS256' = 'ES256') {
    this.issuer = issuer;
    this.#algorithm = algorithm;
    const { privateKey, publicKey } = algorithm === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.#key = privateKey;
    this.publicKey = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  }

  spec(more: Partial<IdentityIssuerSpec> = {}): IdentityIssuerSpec {
    return { type: 'identity-issuer', issuer: this.issuer, keys: [{ id: 'k1', publicKey: this.publicKey }], claim: 'actor_id', require: { repository: 'acme/shop' }, services: ['ci'], ...more };
  }

  /** A token that lives for ten minutes from `at`. */
  token(subject: string, audience: string, at: Date, edits: TokenEdits = {}): string {
    const seconds = Math.floor(at.getTime() / 1000);
    const header = { alg: this.#algorithm, typ: 'JWT', kid: 'k1', ...edits.header };
    const claims = { iss: this.issuer, aud: audience, sub: 'repo:acme/shop:ref:refs/heads/main', iat: seconds, nbf: seconds, exp: seconds + 600, actor_id: subject, repository: 'acme/shop', ...edits.claims };
    const part = (text: string): string => Buffer.from(text).toString('base64url');
    const signed = `${part(JSON.stringify(header))}.${part(edits.text ?? JSON.stringify(claims))}`;
    if (edits.hmac !== undefined) return `${signed}.${createHmac('sha256', edits.hmac).update(signed).digest('base64url')}`;
    if ((header.alg as string) === 'none') return `${signed}.`;
    const key = edits.key ?? this.#key;
    return `${signed}.${sign('sha256', Buffer.from(signed), key.asymmetricKeyType === 'ec' ? { key, dsaEncoding: 'ieee-p1363' } : key).toString('base64url')}`;
  }
}
