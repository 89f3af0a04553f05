import { parseCommit, type ParsedCommit } from '../commit/commit-object.ts';
import type { ObjectFormat } from '../commit/commit-header.ts';
import { parseTrailers } from '../commit/trailers.ts';
import { verifyCommit } from '../commit/verify-commit.ts';
import type { SignatureKeys } from '../commit/verify-signature.ts';
import { decodeBase64, encodeBase64 } from '../model/base64.ts';
import type { Digest } from '../model/digest.ts';
import { documentDigest, type DocumentOf } from '../model/documents.ts';

/**
 * The second carrier of TRUST: a signed commit whose message names an Approval by its digest. It is archived as the document with the raw
 * commit as its signature, so that whoever reads approvals reads both carriers alike.
 */
export function carriedByCommit(document: DocumentOf<'Approval'>, raw: Uint8Array): DocumentOf<'Approval'> {
  return { ...document, signatures: [{ format: 'commit', signature: encodeBase64(raw) }] };
}

const TRAILER = Buffer.from('\nStella-Approval: ');

/** The document that a commit approves with its message, null for every other commit. Whether it is signed, and by whom, is not asked. */
export function approvedByCommit(raw: Uint8Array): Digest | null {
  if (!Buffer.from(raw).includes(TRAILER)) return null;
  const parsed = parseCommit(raw, formatOf(raw));
  return parsed.ok ? approvalNamed(parsed.commit) : null;
}

/** Exactly one, so that one commit is one approval. */
function approvalNamed({ message }: Pick<ParsedCommit, 'message'>): Digest | null {
  const named = parseTrailers(message).filter(({ key }) => key === 'Stella-Approval');
  return named.length === 1 ? (named[0]?.value ?? null) : null;
}

/**
 * Who signed the commit that carries this approval; null when it does not count. The signature covers the message, and the message the digest; trees are
 * not asked. A protected change is named by its own trailer as well.
 */
export function commitSigner(document: DocumentOf<'Approval'>, encoded: string, keys: SignatureKeys): { readonly fingerprint: string; readonly payload: Digest } | null {
  const raw = decodeBase64(encoded);
  if (raw === null) return null;
  const format = formatOf(raw);
  const parsed = parseCommit(raw, format);
  if (!parsed.ok) return null;
  const { commit } = parsed;
  if (approvalNamed(commit) !== documentDigest(document) || !isOwnAct(commit)) return null;
  const changes = parseTrailers(commit.message).filter(({ key }) => key === 'Stella-Change').map(({ value }) => value);
  if (document.spec.type === 'change' && !changes.includes(document.spec.digest)) return null;
  const verified = verifyCommit(raw, format, commit.id, keys);
  return verified.signed ? { fingerprint: verified.signer.fingerprint, payload: verified.payloadDigest } : null;
}

/**
 * Whoever picks, amends or rebases somebody's commit signs it anew without meaning its words: then author and committer differ, and it approves
 * nothing. A merge speaks of what it joins, not for itself (T26).
 */
export function isOwnAct({ author, committer, parents }: ParsedCommit): boolean {
  const who = (line: string | undefined): string | undefined => line?.replace(/ \S+ \S+$/, '');
  return author !== null && who(author.line) === who(committer?.line) && parents.length <= 1;
}

/** By the length of the tree's id, which the first line holds. */
function formatOf(raw: Uint8Array): ObjectFormat {
  return Buffer.from(raw.subarray(0, 70)).indexOf('\n') > 'tree '.length + 40 ? 'sha256' : 'sha1';
}
