import { limits } from '../model/limits.ts';
import type { OpenPgpKey } from '../model/openpgp-key.ts';
import { decodeArmour } from './openpgp-armour.ts';
import type { OpenPgpKeys, OpenPgpQuestion } from './openpgp.ts';
import { leastDigestBytes } from './openpgp-key-packet.ts';
import { ALGORITHM, splitPackets, TAG } from './openpgp-packet.ts';
import { isStrongDigest, issuerOf, parseSignaturePacket, secondsIn, SIGNATURE_TYPE, SUBPACKET, type SignaturePacketFields } from './openpgp-signature-packet.ts';
import { refusal, type SignatureCode, type SignatureRefusal } from './signature-code.ts';

export interface OpenPgpSignatureInput {
  readonly armoured: string;
  /** The signed bytes, raw (T1). */
  readonly message: Uint8Array;
  readonly keys: OpenPgpKeys | undefined;
}

type Refused = { readonly ok: false } & SignatureRefusal;
export type OpenPgpSignatureOutcome = { readonly ok: true; readonly key: OpenPgpKey } | Refused;

/** Critical subpackets that mean nothing here but what is checked anyway. */
const HARMLESS_IF_CRITICAL: ReadonlySet<number> = new Set([SUBPACKET.creationTime, SUBPACKET.signatureExpiration, SUBPACKET.issuerKeyId, SUBPACKET.issuerFingerprint, SUBPACKET.signersUserId]);
/** Public key algorithms whose signatures may count; which numbers are strong enough the key says (T5). */
const ALGORITHMS: ReadonlySet<number> = new Set(Object.values(ALGORITHM));

/**
 * Verifies one armoured OpenPGP signature over `message` against the keys in force (T3, T5). Whether its key was valid then is judged at
 * *observed at* (T9), not here: the time that a signature claims for itself decides nothing. Total, as `verifyCommit`.
 */
export function verifyOpenPgpSignature(input: OpenPgpSignatureInput): OpenPgpSignatureOutcome {
  const asked = questionOf(input);
  if (!asked.ok) return asked;
  const isValid = input.keys?.verifier.verify([asked.question])[0] === true;
  return isValid ? { ok: true, key: asked.key } : refuse('SignatureInvalid');
}

/** Everything about a signature that needs no cryptography, and what remains to be asked of the verifier. */
export function questionOf({ armoured, message, keys }: OpenPgpSignatureInput): { readonly ok: true; readonly key: OpenPgpKey; readonly question: OpenPgpQuestion } | Refused {
  if (keys === undefined) return refuse('SignatureUnsupported', 'openpgp');
  if (armoured.length > limits.signatureBytes) return refuse('SignatureTooLarge', `more than ${limits.signatureBytes} bytes`);
  const armour = decodeArmour(armoured, 'PGP SIGNATURE');
  if (!armour.ok) return armour;
  // T3: one packet. Compressed, literal and one-pass packets would bring a message of their own, a second signature another signer.
  const packets = splitPackets(armour.bytes, limits.signaturesPerDocument);
  const [packet] = packets ?? [];
  if (packet?.tag !== TAG.signature || packets?.length !== 1) return refuse('SignatureMalformed', 'it is not exactly one OpenPGP signature packet');
  const fields = parseSignaturePacket(packet.body);
  if (fields === null) return refuse('SignatureMalformed', 'the fields of its packet do not add up, or it is of another version than 4 and 6');
  const fault = fieldsFault(fields);
  if (fault !== null) return { ok: false, ...fault };
  const issuer = issuerOf(fields);
  if (issuer === null) return refuse('IssuerMissing');
  const key = keys.find(issuer);
  if (key === undefined) return refuse('KeyUnknown', `openpgp:${issuer}`);
  if (key.packet[5] !== fields.keyAlgorithm || key.packet[0] !== fields.version) return refuse('AlgorithmMismatch');
  if (!isStrongDigest(fields.hashAlgorithm, leastDigestBytes(key.packet))) return refuse('DigestUnsupported', 'shorter than the numbers of the key');
  if (fields.createdAt < key.createdAt) return refuse('SignatureInvalid', 'it says that it is older than its key');
  return { ok: true, key, question: { keyPacket: key.packet, signature: packet.body, message } };
}

/** T5, on what the signature says of itself. */
function fieldsFault(fields: SignaturePacketFields): SignatureRefusal | null {
  // Text mode (0x01) signs the text with other line ends: two messages, one signature.
  if (fields.type !== SIGNATURE_TYPE.binary) return refusal('SignatureTypeUnsupported', `type 0x${fields.type.toString(16).padStart(2, '0')}`);
  if (!isStrongDigest(fields.hashAlgorithm)) return refusal('DigestUnsupported', `OpenPGP digest ${fields.hashAlgorithm}`);
  if (!ALGORITHMS.has(fields.keyAlgorithm)) return refusal('AlgorithmUnsupported', `OpenPGP algorithm ${fields.keyAlgorithm}`);
  const critical = [...fields.hashed, ...fields.unhashed].find((subpacket) => subpacket.critical && !HARMLESS_IF_CRITICAL.has(subpacket.type));
  if (critical !== undefined) return refusal('SubpacketUnsupported', critical.type === SUBPACKET.notation ? 'a critical notation' : `critical subpacket ${critical.type}`);
  // What ends is written into the document, where everybody sees it.
  return secondsIn(fields.hashed, SUBPACKET.signatureExpiration) === 0 ? null : refusal('SubpacketUnsupported', 'the signature itself expires');
}

/** How records and messages name an OpenPGP key. */
export function openPgpFingerprint(key: Pick<OpenPgpKey, 'fingerprint'>): string {
  return `openpgp:${key.fingerprint}`;
}

function refuse(code: SignatureCode, detail?: string): Refused {
  return { ok: false, ...refusal(code, detail) };
}
