import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import type { Digest } from '../model/digest.ts';
import type { DocumentOf, IdentityIssuerSpec } from '../model/documents.ts';
import type { InstantMs } from '../model/instant.ts';
import { limits } from '../model/limits.ts';
import { allInForce, inForceOf, type LogState } from '../evidence/log-state.ts';

export type TokenCode = 'TokenMalformed' | 'IssuerUnknown' | 'KeyUnknown' | 'AlgorithmRefused' | 'SignatureInvalid' | 'OtherAudience' | 'TokenTooOld' | 'TokenNotYetValid' | 'ClaimMissing';
/** Who an issuer in force says that it is. `integration`: the document by which that counted. */
export type Identity = { readonly integration: string; readonly issuer: string; readonly subject: string };
export type TokenVerdict = ({ readonly ok: true } & Identity) | { readonly ok: false; readonly code: TokenCode; readonly message: string };

type Claims = { readonly [claim: string]: unknown };
type Token = { readonly header: Claims; readonly claims: Claims; readonly signed: Buffer; readonly signature: Buffer };

const refuse = (code: TokenCode, message: string): TokenVerdict & { ok: false } => ({ ok: false, code, message });

/** What the audience of a token must be, so that it serves for this release and for no other. @param releaseSpec digest of the release spec */
export function audienceOf(releaseSpec: Digest): string {
  return `stella:${releaseSpec}`;
}

/**
 * Whether a token of an OpenID Connect issuer in force says who asked for exactly this (T19 `onBehalfOf`). A JSON Web Token in the compact form of RFC 7515, signed with the
 * one algorithm that the type of the pinned key allows (RFC 8725 §3.1), for this audience, with every claim that the issuer's document requires.
 * @param p.audience {@link audienceOf} what is asked for
 * @param p.observedAt when our log first saw it; null where that cannot be known, as to an agent: then its times are not judged
 */
export function verifyIdentityToken(state: Pick<LogState, 'inForce'>, p: { readonly token: string; readonly audience: string; readonly observedAt: InstantMs | null }): TokenVerdict {
  const token = p.token.length > limits.identityTokenChars ? null : parseToken(p.token);
  if (token === null) return refuse('TokenMalformed', 'it is not one JSON Web Token of three parts, or is too long');
  const issuers = issuersInForce(state).filter(({ spec }) => spec.issuer === token.claims['iss']);
  // Two documents may describe one issuer, for instance for two repositories: the first that fits, by name, is the one.
  let verdict: TokenVerdict = refuse('IssuerUnknown', 'no Integration in force is an identity issuer of that name');
  for (const issuer of issuers) {
    verdict = verifyWith(issuer, token, p);
    if (verdict.ok) return verdict;
  }
  return verdict;
}

/** The services that may act for this identity: those of the document by which it counts, and of no other that describes the same issuer. */
function servicesOf(state: Pick<LogState, 'inForce'>, { integration, issuer }: Identity): readonly string[] {
  return issuersInForce(state).find(({ name, spec }) => name === integration && spec.issuer === issuer)?.spec.services ?? [];
}

/** The person in force with this outside identity; null where there is none, or more than one (T10). */
export function personOf(state: Pick<LogState, 'inForce'>, { issuer, subject }: Omit<Identity, 'integration'>): DocumentOf<'Principal'> | null {
  const found = allInForce(state, 'Principal').filter(({ spec }) => spec.identities?.some((identity) => identity.issuer === issuer && identity.subject === subject) === true);
  const [person] = found;
  return found.length === 1 && person?.spec.type === 'person' ? person : null;
}

/** For whom services acted, and which services may have. */
export type ActingFor = { readonly person: string; /** A suspended person asked for nothing that counts, and stays excluded (T24). */ readonly isGood: boolean; readonly services: readonly string[] };

/** What a verified identity means under the documents in force now: people and issuers that are no more mean nobody (T14). */
export function actingFor(state: Pick<LogState, 'inForce'>, identity: Identity | null): ActingFor | null {
  const person = identity === null ? null : personOf(state, identity);
  const services = identity === null ? [] : servicesOf(state, identity).filter((name) => inForceOf(state as LogState, 'Principal', name)?.spec.type === 'service');
  return person === null || services.length === 0 ? null : { person: person.metadata.name, isGood: person.spec.suspended === undefined, services };
}

type Issuer = { readonly name: string; readonly spec: IdentityIssuerSpec };

/** Sorted by the names of their documents. */
function issuersInForce(state: Pick<LogState, 'inForce'>): readonly Issuer[] {
  return allInForce(state, 'Integration').flatMap(({ metadata: { name }, spec }) => (spec.type === 'identity-issuer' ? [{ name, spec }] : []));
}

function verifyWith({ name, spec: issuer }: Issuer, token: Token, p: { readonly audience: string; readonly observedAt: InstantMs | null }): TokenVerdict {
  const named = issuer.keys.find(({ id }) => id === token.header['kid']);
  const key = named === undefined ? null : readIssuerKey(named.publicKey);
  if (key === null) return refuse('KeyUnknown', 'the issuer has no such key in force');
  // RFC 8725 §3.1, §3.2: the key says which algorithm, the token only repeats it; `none` and HMAC are no algorithms of any key here.
  if (token.header['alg'] !== key.algorithm || token.header['crit'] !== undefined || token.header['b64'] !== undefined) return refuse('AlgorithmRefused', `its key signs with ${key.algorithm} and without extensions`);
  const how = key.algorithm === 'ES256' ? { key: key.key, dsaEncoding: 'ieee-p1363' as const } : key.key;
  if (!verify('sha256', token.signed, how, token.signature)) return refuse('SignatureInvalid', 'its signature does not verify');
  const { exp, iat, nbf } = token.claims;
  if (!isFor(token, p.audience)) return refuse('OtherAudience', `it is for another audience than ${p.audience}`);
  const time = timeFault({ exp, iat, nbf }, p.observedAt);
  if (time !== null) return time;
  const missing = Object.entries(issuer.require).find(([claim, value]) => !Object.hasOwn(token.claims, claim) || token.claims[claim] !== value);
  if (missing !== undefined) return refuse('ClaimMissing', `its claim ${missing[0]} is not ${missing[1]}`);
  const subject = Object.hasOwn(token.claims, issuer.claim) ? token.claims[issuer.claim] : undefined;
  if (typeof subject !== 'string' || subject === '') return refuse('ClaimMissing', `its claim ${issuer.claim}, which names the person, is no text`);
  return { ok: true, integration: name, issuer: issuer.issuer, subject };
}

/** Whether a token says that it is for this audience alone, whoever signed it: one that serves elsewhere must not be shown to anybody. */
export function isOnlyFor(token: string, audience: string): boolean {
  const parsed = token.length > limits.identityTokenChars ? null : parseToken(token);
  return parsed !== null && isFor(parsed, audience);
}

/** One audience only: a token that serves elsewhere as well is shown elsewhere as well. */
function isFor({ claims: { aud } }: Token, audience: string): boolean {
  return aud === audience || (Array.isArray(aud) && aud.length === 1 && aud[0] === audience);
}

function timeFault({ exp, iat, nbf }: { readonly exp: unknown; readonly iat: unknown; readonly nbf: unknown }, observedAt: InstantMs | null): (TokenVerdict & { ok: false }) | null {
  const isTime = (value: unknown): value is number => Number.isSafeInteger(value);
  if (!isTime(exp) || !isTime(iat) || (nbf !== undefined && !isTime(nbf)) || exp - iat > limits.identityTokenSeconds) return refuse('TokenMalformed', `it has no times, or lives longer than ${limits.identityTokenSeconds} s`);
  if (observedAt === null) return null;
  const now = observedAt / 1000;
  // T32: the issuer's clock and ours may differ by so much.
  if (Math.max(iat, nbf ?? iat) > now + limits.clockSkewSeconds) return refuse('TokenNotYetValid', 'it was not valid yet when it was first seen');
  // It vouches for one content under one name, and a pull request takes its days: what counts is when it was made, not until when it opens doors elsewhere.
  return iat + limits.identityTokenAgeSeconds + limits.clockSkewSeconds <= now ? refuse('TokenTooOld', `it was made more than ${limits.identityTokenAgeSeconds / 86_400} days before it was first seen`) : null;
}

/**
 * A key of an issuer: P-256 signs ES256, RSA signs RS256. RSA from 2048 bits: the large forges have such, nobody here chooses, and a token names somebody to exclude; it never approves.
 * @param pem SPKI
 */
export function readIssuerKey(pem: string): { readonly key: KeyObject; readonly algorithm: 'ES256' | 'RS256' } | null {
  try {
    const key = createPublicKey(pem);
    const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
    if (key.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1') return { key, algorithm: 'ES256' };
    return key.asymmetricKeyType === 'rsa' && modulusLength >= 2048 && modulusLength <= limits.rsaBitsMax ? { key, algorithm: 'RS256' } : null;
  } catch {
    return null;
  }
}

function parseToken(text: string): Token | null {
  const [first = '', second = '', third = '', ...rest] = text.split('.');
  const [header, claims, signature] = [first, second, third].map(decode);
  if (rest.length > 0 || header == null || claims == null || signature == null) return null;
  const [head, body] = [parseObject(header), parseObject(claims)];
  return head === null || body === null ? null : { header: head, claims: body, signed: Buffer.from(`${first}.${second}`, 'ascii'), signature };
}

/** Base64url in its one canonical form, without padding (RFC 7515 §2). */
function decode(part: string): Buffer | null {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.length > 0 && bytes.toString('base64url') === part ? bytes : null;
}

/** A JSON object in valid UTF-8 in which no name stands twice (RFC 8725 §2.4: two readers must not read two things). */
function parseObject(bytes: Buffer): Claims | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    let kept = 0;
    const value: unknown = JSON.parse(text, function (this: unknown, _name: string, member: unknown) {
      if (!Array.isArray(this)) kept += 1;
      return member;
    });
    // Every member is written with one colon outside of text; of two with one name a parser keeps one. The root counts once.
    const written = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '').split(':').length;
    return typeof value === 'object' && value !== null && !Array.isArray(value) && kept === written ? (value as Claims) : null;
  } catch {
    return null;
  }
}
