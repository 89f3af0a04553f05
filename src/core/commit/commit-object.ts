import { createHash } from 'node:crypto';
import type { CommitId, TreeId } from '../model/commit-id.ts';
import { limits } from '../model/limits.ts';
import { parseHeaders, type CommitHeaders, type CommitPerson, type ObjectFormat } from './commit-header.ts';
import { refusal, type SignatureCode, type SignatureRefusal } from './signature-code.ts';
import { concatBytes } from './wire-reader.ts';

/** By the first line of the armour; what is inside is not looked at here. */
export type SignatureKind = 'ssh' | 'openpgp' | 'x509' | 'unknown';

/**
 * `unsigned`: carries no signature. `malformed`: carries something like one, in a commit whose form makes it void (T2).
 * `present`: the form is right; whether the cryptography is, `verifyCommit` says.
 */
export type CommitSignature =
  | { readonly state: 'unsigned'; readonly code: 'Unsigned'; readonly message: string }
  | { readonly state: 'malformed'; readonly code: SignatureCode; readonly message: string }
  | {
      readonly state: 'present';
      readonly kind: SignatureKind;
      /** The header's value, unfolded, with its final newline. */
      readonly armoured: string;
      /** T1: the raw bytes minus the one signature header. */
      readonly payload: Uint8Array;
    };

export interface ParsedCommit {
  /** Recomputed from the bytes (T1). */
  readonly id: CommitId;
  readonly tree: TreeId;
  readonly parents: readonly CommitId[];
  /** Null where the line does not have Git's form; such a commit is never signed. */
  readonly author: CommitPerson | null;
  readonly committer: CommitPerson | null;
  /** For people to read unless the commit is verified: invalid UTF-8 is replaced then. */
  readonly message: string;
  readonly signature: CommitSignature;
}

export type CommitOutcome = { readonly ok: true; readonly commit: ParsedCommit } | ({ readonly ok: false } & SignatureRefusal);

/**
 * Reads a raw commit object (without Git's `commit <size>` prefix). A commit that Git can walk is returned even when T2 makes its
 * signature void, because history has to be walked past it; only tree and parents that cannot be read refuse the whole.
 * Total, linear. Codes of a refusal: `CommitTooLarge`, `CommitMalformed`.
 */
export function parseCommit(raw: Uint8Array, objectFormat: ObjectFormat): CommitOutcome {
  if (raw.length > limits.commitBytes) return { ok: false, ...refusal('CommitTooLarge', `more than ${limits.commitBytes} bytes`) };
  const headers = parseHeaders(raw, objectFormat);
  if (headers === null) return { ok: false, ...refusal('CommitMalformed', 'no tree, or a malformed parent') };
  const { tree, parents, author, committer } = headers;
  const text = decodeUtf8(raw);
  const message = messageOf(text ?? new TextDecoder('utf-8', { ignoreBOM: true }).decode(raw));
  const signature = judgeSignature(raw, headers, text !== null);
  return { ok: true, commit: { id: objectIdOf(raw, objectFormat), tree, parents, author, committer, message, signature } };
}

/** Object id of a raw commit, as Git computes it. */
export function objectIdOf(raw: Uint8Array, objectFormat: ObjectFormat): CommitId {
  return createHash(objectFormat).update(`commit ${raw.length}\0`).update(raw).digest('hex') as CommitId;
}

function judgeSignature(raw: Uint8Array, headers: CommitHeaders, isUtf8: boolean): CommitSignature {
  if (!headers.claimsSignature) return { state: 'unsigned', ...refusal('Unsigned'), code: 'Unsigned' };
  // T2: readers in C stop at a NUL, so what they show and what is signed would differ.
  if (raw.includes(0)) return { state: 'malformed', ...refusal('NulByte') };
  if (headers.defect !== null) return { state: 'malformed', ...headers.defect };
  if (headers.signature === null) return { state: 'malformed', ...refusal('HeaderMalformed') };
  if (!isUtf8) return { state: 'malformed', ...refusal('NotUtf8') };
  const { start, end, value } = headers.signature;
  // T1: cut out of the raw bytes, never written anew from what was parsed.
  const payload = concatBytes([raw.subarray(0, start), raw.subarray(end)]);
  return { state: 'present', kind: kindOf(value), armoured: value, payload };
}

/** What follows the first blank line, which ends the headers. */
function messageOf(text: string): string {
  const blank = text.indexOf('\n\n');
  return blank === -1 ? '' : text.slice(blank + 2);
}

function kindOf(armoured: string): SignatureKind {
  if (armoured.startsWith('-----BEGIN SSH SIGNATURE-----\n')) return 'ssh';
  if (armoured.startsWith('-----BEGIN PGP SIGNATURE-----\n')) return 'openpgp';
  if (armoured.startsWith('-----BEGIN SIGNED MESSAGE-----\n')) return 'x509';
  return 'unknown';
}

function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // The decoder's only failure is an invalid sequence.
    return null;
  }
}
