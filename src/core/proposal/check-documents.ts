import { verifyDocumentSignature } from '../commit/document-signature.ts';
import { canonicalBytes } from '../model/canonical-json.ts';
import { documentKey, type AnyDocument, type DocumentKey, type DocumentOf } from '../model/documents.ts';
import { splitPair } from '../model/names.ts';
import { intentPreimage, releaseSpecDigest } from '../model/preimages.ts';
import { findDocument, type DesiredState } from '../desired/desired-state.ts';
import type { Diagnostic } from '../desired/diagnostic.ts';
import type { LogState } from '../evidence/log-state.ts';
import { signersOf } from '../trust/embedded-signers.ts';
import type { KeyRing } from '../trust/key-ring.ts';
import { finding, type Finding, type Severity } from './finding.ts';

/** What the target branch would declare with a candidate, and the documents of it that differ. */
export type Brought = { readonly desired: DesiredState; readonly changedKeys: readonly DocumentKey[] };

/** Faults of declarations that the target branch does not have yet (T10, T12). */
export function checkDeclarations(now: readonly Diagnostic[], before: readonly Diagnostic[]): readonly Finding[] {
  const known = new Set(before.map(diagnosticText));
  return now.filter((d) => !known.has(diagnosticText(d))).map((d) => finding({
    code: d.code, severity: d.severity === 'error' ? 'refused' : 'note', file: d.file, line: d.line === 0 ? null : d.line, subject: d.subject ?? null, message: d.message, remedy: d.remedy,
  }));
}

function diagnosticText({ code, file, subject, message }: Diagnostic): string {
  return JSON.stringify([code, file, subject ?? null, message]);
}

/** Signatures in the documents that a candidate brings: of nobody, or over something else than the document says now. */
export function checkSignatures(state: LogState, brought: Brought, ring: KeyRing): readonly Finding[] {
  return brought.changedKeys.flatMap((key) => {
    const [kind, ...name] = key.split('/');
    if (kind !== 'Approval' && kind !== 'Promotion') return [];
    const found = findDocument(brought.desired, kind, name.join('/'));
    if (found.status !== 'present') return [];
    const document = found.entry.document as unknown as AnyDocument;
    const fault = document.kind === 'Approval' ? approvalFault(document, ring) : document.kind === 'Promotion' ? intentFault(document, state, brought.desired, ring) : null;
    return fault === null ? [] : [finding({ ...placeOf(brought.desired, key), ...fault })];
  });
}

type Fault = Pick<Finding, 'code' | 'message' | 'remedy'> & { readonly severity: Severity };

function approvalFault(document: DocumentOf<'Approval'>, ring: KeyRing): Fault | null {
  const signers = signersOf(document, 'stella-approval', ring);
  if (signers.some(({ fingerprint }) => ring.has(fingerprint))) return null;
  const [first] = signers;
  if (first !== undefined) return { code: 'KeyUnknown', severity: 'refused', message: `it is signed with ${first.fingerprint}, a key of nobody in force`, remedy: 'Approve with a key of your Principal document.' };
  // A commit that names it may still carry it; without any signature it is nobody's word yet.
  if (document.signatures === undefined) return { code: 'Unsigned', severity: 'note', message: 'it carries no signature of its own', remedy: 'Write it with stella approve, or name its digest in the trailer Stella-Approval of a signed commit.' };
  return { code: 'SignatureInvalid', severity: 'refused', message: 'none of its signatures matches what it says', remedy: 'Approve again; a document is not edited after it was signed.' };
}

function intentFault(promotion: DocumentOf<'Promotion'>, state: LogState, desired: DesiredState, ring: KeyRing): Fault | null {
  const [signature] = promotion.signatures ?? [];
  if (signature === undefined) return null;
  const preimage = canonicalBytes(intentPreimage({ logId: state.logId, promotion, releaseSpec: releaseSpecOf(promotion, state, desired) }));
  const outcomes = (promotion.signatures ?? []).map((one) => verifyDocumentSignature({ preimage, armoured: one.signature, namespace: 'stella-intent', keys: ring }));
  const failed = outcomes.find((outcome) => !outcome.signed);
  if (outcomes.some((outcome) => outcome.signed) || failed?.signed !== false) return null;
  return { code: failed.code, severity: 'refused', message: `the signature of who asks does not hold: ${failed.message}`, remedy: 'Sign what it says now: stella promote.' };
}

function releaseSpecOf({ metadata, spec }: DocumentOf<'Promotion'>, state: LogState, desired: DesiredState): ReturnType<typeof releaseSpecDigest> | null {
  if (spec.state === 'absent') return null;
  const name = `${splitPair(metadata.name)[1]}/${spec.release ?? ''}`;
  const entry = desired.usable.Release.get(documentKey('Release', name));
  return state.locks.get(name)?.releaseSpec ?? (entry === undefined ? null : releaseSpecDigest(entry.document as unknown as DocumentOf<'Release'>));
}

/** Where a document stands; nowhere when no file claims it. */
export function placeOf(desired: DesiredState, key: DocumentKey): Pick<Finding, 'file' | 'line' | 'subject'> {
  const claim = desired.claims.get(key)?.[0];
  return { file: claim?.file ?? null, line: claim?.line ?? null, subject: key };
}
