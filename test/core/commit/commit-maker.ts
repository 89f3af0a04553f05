import { objectIdOf } from '../../../src/core/commit/commit-object.ts';
import type { ObjectFormat } from '../../../src/core/commit/commit-header.ts';
import { verifyCommit, type UnverifiedCommit, type VerifiedCommit } from '../../../src/core/commit/verify-commit.ts';
import { makeSignature, type SignatureOptions, type TestKey } from './signature-maker.ts';

export const TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';
export const PERSON = 'Ada Example <ada@example.test> 1767225600 +0000';
export const HEADERS: readonly string[] = [`tree ${TREE}`, `parent ${'1'.repeat(40)}`, `author ${PERSON}`, `committer ${PERSON}`];

/** A raw commit of these header lines and this message. */
export function commitOf(headers: readonly string[], message = 'Promote\n'): Buffer {
  return Buffer.from(`${headers.join('\n')}\n\n${message}`);
}

/** A signature as a header: continuation lines indented. */
export function signatureHeader(armoured: string, name = 'gpgsig'): string {
  return `${name} ${armoured.trimEnd().replaceAll('\n', '\n ')}`;
}

/** A raw commit, signed as Git signs: over all but the signature header, which comes last. */
export function signedCommit(key: TestKey, headers: readonly string[] = HEADERS, message = 'Promote\n', options: SignatureOptions = {}): Buffer {
  return commitOf([...headers, signatureHeader(makeSignature(key, commitOf(headers, message), options))], message);
}

/** Verifies raw bytes under the id that they have. */
export function verifyRaw(raw: Uint8Array, objectFormat: ObjectFormat = 'sha1'): VerifiedCommit | UnverifiedCommit {
  return verifyCommit(raw, objectFormat, objectIdOf(raw, objectFormat));
}

/** What a test asserts on: `ok`, or the code of the refusal. */
export function codeOf(outcome: { readonly signed: true } | { readonly signed: false; readonly code: string }): string {
  return outcome.signed ? 'ok' : outcome.code;
}
