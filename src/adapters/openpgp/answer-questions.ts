import { config, enums, PublicKeyPacket, SignaturePacket } from 'openpgp';
import type { OpenPgpQuestion } from '../../core/commit/openpgp.ts';
import { keyFingerprint } from '../../core/commit/openpgp-packet.ts';

/** What is too weak the core refuses before it asks; a revocation counts even if its digest is weak, so no digest is refused here. */
const cryptographyOnly = { ...config, rejectHashAlgorithms: new Set<enums.hash>(), rejectMessageHashAlgorithms: new Set<enums.hash>() };

/** One octet for each question: 1 where the signature is the key's over the message, else 0. */
export async function answerQuestions(questions: readonly OpenPgpQuestion[]): Promise<Uint8Array> {
  // Many signatures of few keys: each key is read once.
  const keys = new Map<string, Promise<PublicKeyPacket>>();
  const keyOf = (body: Uint8Array): Promise<PublicKeyPacket> => {
    const name = Buffer.from(body).toString('latin1');
    const known = keys.get(name) ?? readKey(body);
    keys.set(name, known);
    return known;
  };
  return Uint8Array.from(await Promise.all(questions.map((question) => answer(question, keyOf))));
}

async function answer(question: OpenPgpQuestion, keyOf: (body: Uint8Array) => Promise<PublicKeyPacket>): Promise<number> {
  try {
    const key = await keyOf(question.keyPacket);
    const signature = new SignaturePacket();
    signature.read(question.signature);
    // These are the bytes already that a message of any type becomes; the signature's own type is hashed as it stands.
    const message = { text: null, getBytes: (): Uint8Array => question.message };
    // Judged at the time it names itself, a signature is neither too young nor too old: time is the core's question.
    await signature.verify(key, enums.signature.binary, message, signature.created ?? undefined, true, cryptographyOnly);
    return 1;
  } catch {
    // The library says no by throwing, whatever the reason.
    return 0;
  }
}

/** @throws Error unless the library reads the key exactly as it stands: its full fingerprint is that of these bytes (T5) */
async function readKey(body: Uint8Array): Promise<PublicKeyPacket> {
  const key = new PublicKeyPacket();
  await key.read(body);
  if (key.getFingerprint() !== keyFingerprint(body)) throw new Error('the key packet has another form than its canonical one');
  return key;
}
