import { createHash, randomBytes } from 'node:crypto';
import { digestOfBytes, type Digest } from '../../core/model/digest.ts';

const PREFIX = 'stella-enrol-v1';
const FORM = /^stella-enrol-v1\.[A-Za-z0-9_-]{43}\.([0-9a-f]{64})$/;

/** A new token: 256 random bits and the sha256 of the authority's certificate, `stella-enrol-v1.<random>.<hex sha256>`. */
export function newEnrolmentToken(authorityCertificateDer: Uint8Array): string {
  return `${PREFIX}.${randomBytes(32).toString('base64url')}.${certificateSha256(authorityCertificateDer)}`;
}

/** The 64 hexadecimal digits of the authority's certificate that a token names; null when the text is not a token. */
export function authorityOfToken(token: string): string | null {
  return FORM.exec(token)?.[1] ?? null;
}

/** What the server keeps of a token. */
export function enrolmentTokenDigest(token: string): Digest {
  return digestOfBytes(token);
}

/** sha256 of a certificate in DER, 64 hexadecimal digits. */
export function certificateSha256(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex');
}
