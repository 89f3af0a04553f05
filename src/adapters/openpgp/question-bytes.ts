import type { OpenPgpQuestion } from '../../core/commit/openpgp.ts';

/** Three lengths of four octets each. */
const LENGTHS = 12;

/** Questions as one piece of memory, which is handed over instead of copied: parts of larger buffers would take the whole buffers along. */
export function encodeQuestions(questions: readonly OpenPgpQuestion[]): Uint8Array<ArrayBuffer> {
  const size = questions.reduce((sum, { keyPacket, signature, message }) => sum + LENGTHS + keyPacket.length + signature.length + message.length, 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const { keyPacket, signature, message } of questions) {
    for (const part of [keyPacket, signature, message]) {
      view.setUint32(offset, part.length);
      bytes.set(part, offset + 4);
      offset += 4 + part.length;
    }
  }
  return bytes;
}

/** Reverse of {@link encodeQuestions}; the parts are views. */
export function decodeQuestions(bytes: Uint8Array): readonly OpenPgpQuestion[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const questions: OpenPgpQuestion[] = [];
  let offset = 0;
  const next = (): Uint8Array => {
    const start = offset + 4;
    offset = start + view.getUint32(offset);
    return bytes.subarray(start, offset);
  };
  while (offset < bytes.length) questions.push({ keyPacket: next(), signature: next(), message: next() });
  return questions;
}
