import { verifyIdentityToken } from '../../src/core/trust/identity-token.ts';
import { initialState } from '../../src/core/evidence/log-state.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { documentDigest, documentKey, type DocumentOf } from '../../src/core/model/documents.ts';
import { IdentityIssuer } from '../fakes/identity-issuer.ts';
import { doc } from '../fakes/world.ts';
import { type Decoder, demandSame } from './decoder.ts';

const AUDIENCE = 'stella:x';
const AT = new Date('2031-05-17T09:30:00.000Z');

/** Tokens of two issuers, one with each algorithm. What is accepted is what an issuer signed, with that signature. */
export const identityToken: Decoder = {
  name: 'identity-token',
  open: () => {
    const issuers = [new IdentityIssuer('https://ci.example'), new IdentityIssuer('https://elsewhere.example', 'RS256')];
    const root = doc('TrustRoot', 'root', { version: 1, tenant: 't' } as DocumentOf<'TrustRoot'>['spec']);
    const inForce = issuers.reduce((all, issuer, i) => {
      const document = doc('Integration', `issuer-${i}`, issuer.spec());
      return all.set(documentKey('Integration', document.metadata.name), { kind: 'Integration', name: document.metadata.name, digest: documentDigest(document), document, seq: 0, tip: null, since: null, by: [], basis: 'genesis' });
    }, initialState(root, digestOfBytes('log')).inForce);
    const tokens = issuers.map((issuer) => issuer.token('11', AUDIENCE, AT));
    const parts = (token: string): readonly Uint8Array[] => [Buffer.from(token.slice(0, token.lastIndexOf('.'))), Buffer.from(token.slice(token.lastIndexOf('.')))];
    return Promise.resolve({
      samples: tokens.map((token) => {
        const [header = '', claims = '', signature = ''] = token.split('.');
        return {
          bytes: Buffer.from(token),
          layers: [
            { bytes: Buffer.from(header, 'base64url'), wrap: (changed) => Buffer.from(`${changed.toString('base64url')}.${claims}.${signature}`) },
            { bytes: Buffer.from(claims, 'base64url'), wrap: (changed) => Buffer.from(`${header}.${changed.toString('base64url')}.${signature}`) },
            { bytes: Buffer.from(signature, 'base64url'), wrap: (changed) => Buffer.from(`${header}.${claims}.${changed.toString('base64url')}`) },
          ],
        };
      }),
      words: ['.', '..', 'none', 'HS256', 'RS256', 'ES256', '"alg":"none"', '"kid":"k1"', '"crit":[]', '"exp":9e99', '"aud":[]', '{}', 'null', '"__proto__":{}', '='],
      read: (input) => {
        const token = new TextDecoder().decode(input);
        const verdict = verifyIdentityToken({ inForce }, { token, audience: AUDIENCE, observedAt: AT.getTime() });
        return verdict.ok ? demandSame('a token', parts(token), tokens.map(parts)) : verdict.code;
      },
    });
  },
};
