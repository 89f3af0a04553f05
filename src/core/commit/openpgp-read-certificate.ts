import type { InstantMs } from '../model/instant.ts';
import { limits } from '../model/limits.ts';
import type { OpenPgpCertificate, OpenPgpKey, OpenPgpRevocation } from '../model/openpgp-key.ts';
import { decodeArmour } from './openpgp-armour.ts';
import { earlierRevocation } from './openpgp-certificate.ts';
import { leastDigestBytes, parseKeyPacket, type KeyPacketFields } from './openpgp-key-packet.ts';
import { splitPackets, TAG, type OpenPgpPacket } from './openpgp-packet.ts';
import { isStrongDigest, only, parseSignaturePacket, secondsIn, SIGNATURE_TYPE, SUBPACKET, type SignaturePacketFields, type Subpacket } from './openpgp-signature-packet.ts';
import type { OpenPgpQuestion, OpenPgpVerifier } from './openpgp.ts';
import { refusal, type SignatureRefusal } from './signature-code.ts';
import { concatBytes } from './wire-reader.ts';

type Refused = { readonly ok: false } & SignatureRefusal;
export type OpenPgpCertificateOutcome = { readonly ok: true; readonly certificate: OpenPgpCertificate } | Refused;

/** A key of the certificate with its packet. */
type Member = { readonly body: Uint8Array; readonly fields: KeyPacketFields };
/** What a signature in a certificate stands behind: the primary key itself, a user id, or a subkey. */
type Section = { readonly about: 'primary' | 'user' | 'subkey' | 'nothing'; readonly packet: OpenPgpPacket; readonly signatures: readonly Uint8Array[] };
export type CertificateForm = { readonly primary: Member; readonly sections: readonly Section[] };

/** A signature of the certificate over itself that verifies. */
type Proven = { readonly fields: SignaturePacketFields; readonly section: Section };

/** Critical subpackets of self-signatures that are read here, or that bear on encryption alone. */
const UNDERSTOOD: ReadonlySet<number> = new Set([...Object.values(SUBPACKET), 4, 11, 21, 22, 23, 24, 25, 26, 34, 39]);
const MAY_SIGN = 0x02;
/** Reasons for revocation, RFC 9580 §5.2.3.31: superseded, retired. What was signed before stays. */
const SOFT_REASONS: readonly number[] = [1, 3];

/**
 * What an armoured certificate proves of its keys, by its own signatures alone; certifications by others are left out. T5: signatures that
 * bind or renew count only with a strong digest, a signing subkey only if it has signed its binding itself. A revocation counts whatever
 * its digest: stopping is easier than going on.
 */
export function readCertificate(armoured: string, verifier: OpenPgpVerifier): OpenPgpCertificateOutcome {
  const form = parseCertificate(armoured);
  if ('code' in form) return { ok: false, ...form };
  const proven = provenSignatures(form, verifier);
  const primary = describePrimary(form.primary, proven);
  if (primary === null) return { ok: false, ...refusal('KeyUnbound') };
  const keys = new Map([[primary.fingerprint, primary]]);
  for (const section of form.sections) {
    const subkey = section.about === 'subkey' ? parseKeyPacket(section.packet.body) : null;
    // A subkey that only encrypts, or is too weak, signs nothing.
    if (subkey?.ok !== true) continue;
    const described = describeSubkey(form.primary, { body: section.packet.body, fields: subkey.key }, proven.filter((p) => p.section === section), verifier);
    if (described !== null && !keys.has(described.fingerprint)) keys.set(described.fingerprint, described);
  }
  const sorted = [...keys.values()].sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1));
  return { ok: true, certificate: { primary: primary.fingerprint, keys: sorted } };
}

/** The packets of exactly one certificate, its primary key judged (T3, T5). Nothing is verified. */
export function parseCertificate(armoured: string): CertificateForm | SignatureRefusal {
  if (armoured.length > limits.certificateBytes) return refusal('SignatureTooLarge', `a certificate of more than ${limits.certificateBytes} bytes: write it with gpg --export --armor --export-options export-minimal`);
  if (armoured.includes('PRIVATE KEY')) return refusal('KeyMalformed', 'this is a PRIVATE key: revoke it, and write the output of gpg --export --armor');
  const armour = decodeArmour(armoured, 'PGP PUBLIC KEY BLOCK');
  const packets = armour.ok ? splitPackets(armour.bytes, limits.certificatePackets) : null;
  const [first, ...rest] = packets ?? [];
  if (first?.tag !== TAG.publicKey) return refusal('KeyMalformed', armour.ok ? `it is no sequence of at most ${limits.certificatePackets} packets that begins with a public key` : armour.message);
  const parsed = parseKeyPacket(first.body);
  if (!parsed.ok) return parsed;
  const sections = sectionsOf(first, rest);
  if (sections === null) return refusal('KeyMalformed', 'it holds more than one key, or packets that do not belong into a certificate');
  // Whoever else may revoke it we would not see: T12.
  if (sections.some((s) => s.signatures.some(namesRevoker))) return refusal('KeyUnsupported', 'it lets another key revoke it');
  return { primary: { body: first.body, fields: parsed.key }, sections };
}

const ABOUT: Readonly<Record<number, Section['about']>> = { [TAG.userId]: 'user', [TAG.userAttribute]: 'user', [TAG.publicSubkey]: 'subkey' };

function sectionsOf(primary: OpenPgpPacket, rest: readonly OpenPgpPacket[]): readonly Section[] | null {
  const sections: (Section & { readonly signatures: Uint8Array[] })[] = [{ about: 'primary', packet: primary, signatures: [] }];
  for (const packet of rest) {
    const about = ABOUT[packet.tag];
    if (packet.tag === TAG.signature) sections.at(-1)?.signatures.push(packet.body);
    else if (about !== undefined) sections.push({ about, packet, signatures: [] });
    else return null;
  }
  return sections;
}

function namesRevoker(body: Uint8Array): boolean {
  return parseSignaturePacket(body)?.hashed.some((subpacket) => subpacket.type === SUBPACKET.revocationKey) === true;
}

const CERTIFICATIONS: readonly number[] = [0x10, 0x11, 0x12, 0x13];

/** What the signature covers, where it stands; null for a type that says nothing there. Source: RFC 9580 §5.2.4. */
function messageOf(primary: Member, section: Section, fields: SignaturePacketFields): Uint8Array | null {
  const key = framedKey(primary.body, fields.version);
  const { type } = fields;
  // A key revocation counts wherever in the certificate it lies.
  if (type === SIGNATURE_TYPE.keyRevocation || (section.about === 'primary' && type === SIGNATURE_TYPE.direct)) return key;
  if (section.about === 'user' && (CERTIFICATIONS.includes(type) || type === SIGNATURE_TYPE.certificationRevocation)) return concatBytes([key, framedUser(section.packet)]);
  if (section.about === 'subkey' && (type === SIGNATURE_TYPE.subkeyBinding || type === SIGNATURE_TYPE.subkeyRevocation)) return concatBytes([key, framedKey(section.packet.body, fields.version)]);
  return null;
}

function framedKey(body: Uint8Array, version: 4 | 6): Uint8Array {
  const length = Buffer.alloc(version === 6 ? 4 : 2);
  length.writeUIntBE(body.length, 0, length.length);
  return concatBytes([Uint8Array.of(version === 6 ? 0x9b : 0x99), length, body]);
}

function framedUser({ tag, body }: OpenPgpPacket): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return concatBytes([Uint8Array.of(tag === TAG.userId ? 0xb4 : 0xd1), length, body]);
}

/** Signatures by the primary key that verify, and are not void by what they say of themselves. */
function provenSignatures({ primary, sections }: CertificateForm, verifier: OpenPgpVerifier): readonly Proven[] {
  const asked = sections.flatMap((section) => section.signatures.flatMap((signature) => {
    const fields = parseSignaturePacket(signature);
    const message = fields === null ? null : messageOf(primary, section, fields);
    if (fields === null || message === null || !mayCount(fields, primary)) return [];
    return [{ proven: { fields, section }, question: { keyPacket: primary.body, signature, message } satisfies OpenPgpQuestion }];
  }));
  const answers = verifier.verify(asked.map(({ question }) => question));
  // Of a revocation that nobody can say anything about the worse is assumed.
  return asked.flatMap(({ proven }, i) => (answers[i] === true || (answers[i] === null && REVOCATIONS.includes(proven.fields.type)) ? [proven] : []));
}

const REVOCATIONS: readonly number[] = [SIGNATURE_TYPE.keyRevocation, SIGNATURE_TYPE.subkeyRevocation, SIGNATURE_TYPE.certificationRevocation];

/** T5: what binds or renews needs a strong digest and nothing critical that is not understood; a revocation needs neither. */
function mayCount(fields: SignaturePacketFields, { body, fields: key }: Member): boolean {
  if (REVOCATIONS.includes(fields.type)) return true;
  const subpackets = [...fields.hashed, ...fields.unhashed];
  const isUnderstood = subpackets.every(({ critical, type }) => !critical || (UNDERSTOOD.has(type) && type !== SUBPACKET.notation));
  return isStrongDigest(fields.hashAlgorithm, leastDigestBytes(body)) && fields.version === key.version && fields.keyAlgorithm === key.algorithm && isUnderstood;
}

const newest = (signatures: readonly Proven[]): Proven | undefined => signatures.reduce<Proven | undefined>((best, s) => (best === undefined || s.fields.createdAt > best.fields.createdAt ? s : best), undefined);

/** The primary key by its newest direct signature and its newest certification of a user id that stands; null when it has neither. */
function describePrimary(primary: Member, proven: readonly Proven[]): OpenPgpKey | null {
  const direct = newest(proven.filter((p) => p.fields.type === SIGNATURE_TYPE.direct));
  const certification = newest(proven.filter((p) => CERTIFICATIONS.includes(p.fields.type) && !isWithdrawn(p, proven)));
  const binding = [direct, certification].flatMap((p) => p ?? []);
  if (binding.length === 0) return null;
  return describe(primary, primary.fields.fingerprint, binding, {
    maySign: hasSignFlag(newest(binding.filter((p) => flagsOf(p) !== undefined))),
    revocation: revocationIn(proven.filter((p) => p.fields.type === SIGNATURE_TYPE.keyRevocation)),
  });
}

/** Whether the user id was revoked at or after this certification of it. */
function isWithdrawn(certification: Proven, proven: readonly Proven[]): boolean {
  return proven.some((p) => p.section === certification.section && p.fields.type === SIGNATURE_TYPE.certificationRevocation && p.fields.createdAt >= certification.fields.createdAt);
}

/** A subkey by its newest binding; null when nothing binds it. */
function describeSubkey(primary: Member, subkey: Member, proven: readonly Proven[], verifier: OpenPgpVerifier): OpenPgpKey | null {
  const binding = newest(proven.filter((p) => p.fields.type === SIGNATURE_TYPE.subkeyBinding));
  if (binding === undefined) return null;
  return describe(subkey, primary.fields.fingerprint, [binding], {
    // T5: without its own signature anybody's subkey could be taken over, and its signatures with it.
    maySign: hasSignFlag(binding) && isBackSigned(primary, subkey, binding, verifier),
    revocation: revocationIn(proven.filter((p) => p.fields.type === SIGNATURE_TYPE.subkeyRevocation)),
  });
}

function isBackSigned(primary: Member, subkey: Member, binding: Proven, verifier: OpenPgpVerifier): boolean {
  const signature = only([...binding.fields.hashed, ...binding.fields.unhashed], SUBPACKET.embeddedSignature)?.body;
  const fields = signature === undefined ? null : parseSignaturePacket(signature);
  if (signature === undefined || fields?.type !== SIGNATURE_TYPE.keyBinding || !mayCount(fields, subkey)) return false;
  const message = concatBytes([framedKey(primary.body, fields.version), framedKey(subkey.body, fields.version)]);
  return verifier.verify([{ keyPacket: subkey.body, signature, message }])[0] === true;
}

function describe(key: Member, primary: string, binding: readonly Proven[], said: Pick<OpenPgpKey, 'maySign' | 'revocation'>): OpenPgpKey {
  const { fingerprint, createdAt } = key.fields;
  const ends = binding.flatMap((p) => endsOf(p.fields, createdAt));
  return {
    fingerprint, primary, packet: Uint8Array.from(key.body), createdAt, boundAt: Math.max(...binding.map((p) => p.fields.createdAt)),
    expiresAt: ends.length === 0 ? null : Math.min(...ends), ...said,
  };
}

/** When a binding ends: with the key, as it says, or by itself. One that says it malformed never began. */
function endsOf({ hashed, createdAt }: SignaturePacketFields, keyCreatedAt: InstantMs): readonly InstantMs[] {
  const keyEnds = secondsIn(hashed, SUBPACKET.keyExpiration);
  const signatureEnds = secondsIn(hashed, SUBPACKET.signatureExpiration);
  if (keyEnds === null || signatureEnds === null) return [0];
  return [...(keyEnds === 0 ? [] : [keyCreatedAt + keyEnds * 1000]), ...(signatureEnds === 0 ? [] : [createdAt + signatureEnds * 1000])];
}

function flagsOf(proven: Proven): Subpacket | undefined {
  return only(proven.fields.hashed, SUBPACKET.keyFlags);
}

function hasSignFlag(proven: Proven | undefined): boolean {
  return proven !== undefined && ((flagsOf(proven)?.body[0] ?? 0) & MAY_SIGN) !== 0;
}

function revocationIn(revocations: readonly Proven[]): OpenPgpRevocation | null {
  return revocations.map((p): OpenPgpRevocation => {
    const reason = only(p.fields.hashed, SUBPACKET.reasonForRevocation)?.body[0];
    // A reason that is missing, or is not known to be harmless: whoever holds the key may have had it for long.
    return reason !== undefined && SOFT_REASONS.includes(reason) ? { from: p.fields.createdAt, compromised: false } : { from: 0, compromised: true };
  }).reduce<OpenPgpRevocation | null>((a, b) => earlierRevocation(a, b), null);
}

/** Every key of a certificate that could sign, bound to it or not: who names a key in their document claims it (T10). Null when it cannot be read. */
export function claimedKeys(armoured: string): readonly KeyPacketFields[] | SignatureRefusal {
  const form = parseCertificate(armoured);
  if ('code' in form) return form;
  const subkeys = form.sections.flatMap((section) => {
    const parsed = section.about === 'subkey' ? parseKeyPacket(section.packet.body) : null;
    return parsed?.ok === true ? [parsed.key] : [];
  });
  return [form.primary.fields, ...subkeys];
}

