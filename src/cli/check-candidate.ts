import { verifyDocumentSignature } from '../core/commit/document-signature.ts';
import { canonicalBytes, parseCanonicalJson } from '../core/model/canonical-json.ts';
import { documentKey, type AnyDocument, type DocumentKey, type DocumentOf, type Kind } from '../core/model/documents.ts';
import { splitPair } from '../core/model/names.ts';
import { intentPreimage, releaseSpecDigest } from '../core/model/preimages.ts';
import { explainDecision, type ExplainLine } from '../core/decision/explain.ts';
import type { Decision, DecisionInput } from '../core/decision/types.ts';
import { findDocument, type DesiredState } from '../core/desired/desired-state.ts';
import type { Diagnostic } from '../core/desired/diagnostic.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import { signersOf } from '../core/trust/embedded-signers.ts';
import type { KeyRing } from '../core/trust/key-ring.ts';
import type { Rehearsal } from '../reconciler/rehearse.ts';
import type { LoadedDeclarations } from './clone.ts';
import { finding, type Finding, type Severity } from '../core/proposal/finding.ts';
import { pendingIn } from './pending.ts';

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

/** What a server would say of the candidate: protected changes that do not come into force, releases that cannot be locked, gates that do not open. */
export function checkRehearsal({ pass, subjects }: Rehearsal, loaded: LoadedDeclarations): readonly Finding[] {
  return [...changeFindings(pass, loaded), ...effectFindings(pass, loaded), ...releaseFindings(pass, loaded), ...decisionFindings(pass, subjects, loaded.desired)];
}

type Pass = Rehearsal['pass'];

function changeFindings({ batch, conditions }: Pass, loaded: LoadedDeclarations): readonly Finding[] {
  const touched = new Set<string>(loaded.changedKeys);
  const all = ['TrustRoot'].map((only) => pendingIn(batch.state, loaded.desired, [only]));
  const pending = [pendingIn(batch.state, loaded.desired), ...all].flatMap(({ changes, digest }) => changes.map((change) => ({ change, digest })));
  const stalled = conditions.all().filter((c) => c.type === 'Stalled' && (c.kind === 'Policy' || c.kind === 'TrustRoot'));
  return pending.filter(({ change }) => touched.has(`${change.kind}/${change.name}`)).map(({ change, digest }) => {
    const said = stalled.find((c) => (c.kind === 'TrustRoot') === (change.kind === 'TrustRoot'));
    const why = /\(([^)]*)\); approve with/.exec(said?.message ?? '')?.[1] ?? (said?.kind === 'TrustRoot' ? said.message : null);
    return finding({
      ...placeOf(loaded.desired, documentKey(change.kind, change.name)), code: said?.reason ?? 'ChangePending', severity: 'refused',
      message: `${change.kind}/${change.name} ${change.from === null ? 'is new' : change.to === null ? 'is deleted' : 'changes'} and would not come into force: it needs ${change.quorum}${why === null ? '' : ` (${why})`}`,
      remedy: 'Those who may approve it do so, before or after the merge.', command: `stella approve --change ${digest ?? ''}`,
    });
  });
}

/** Documents that have no effect under what is in force, though the tree itself holds together. */
function effectFindings({ conditions }: Pass, loaded: LoadedDeclarations): readonly Finding[] {
  const touched = new Set<string>(loaded.changedKeys);
  return conditions.all().filter((c) => c.reason === 'Declaration' && c.kind !== 'File' && touched.has(`${c.kind}/${c.name}`)).map((c) => {
    const [, code = 'Declaration', message = c.message] = /: (?:error|warning) (\w+): (.*)$/s.exec(c.message) ?? [];
    return finding({ code, severity: 'refused', file: c.file, line: c.line, subject: documentKey(c.kind as Kind, c.name), message, remedy: null });
  });
}

function releaseFindings({ conditions }: Pass, loaded: LoadedDeclarations): readonly Finding[] {
  return conditions.all().filter((c) => c.kind === 'Release' && c.type === 'Stalled' && c.reason !== 'Declaration').map((c) => finding({
    ...placeOf(loaded.desired, documentKey('Release', c.name)), code: c.reason, severity: c.reason === 'RegistryFault' || c.reason === 'TagUnresolved' ? 'waits' : 'refused', message: c.message,
    remedy: c.reason === 'ReleaseChanged' ? 'A release that is locked stays what it is: give new content a new version.' : null,
  }));
}

/** Of each subject the last decision, gate by gate. */
function decisionFindings({ batch }: Pass, subjects: readonly string[], desired: DesiredState): readonly Finding[] {
  const decided = new Map<string, { readonly decision: Decision; readonly input: DecisionInput }>();
  for (const { record } of batch.records) {
    if (record.type !== 'promotion-decision' || record.predicate.sources.ended !== null) continue;
    const bytes = batch.lookup(record.predicate.input);
    const input = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as DecisionInput | undefined);
    if (input !== undefined) decided.set(`${record.predicate.environment}/${record.predicate.application}`, { decision: record.predicate.decision, input });
  }
  return subjects.flatMap((name) => {
    const made = decided.get(name);
    const place = placeOf(desired, documentKey('Promotion', name));
    return made === undefined ? [] : explainDecision(made.decision, made.input).flatMap((line) => gateFinding(line, place));
  });
}

/** What is said of the subject already when its release cannot be locked is not said again of its gates. */
function gateFinding(line: ExplainLine, place: Partial<Finding>): readonly Finding[] {
  const of = { ...place, message: line.text, remedy: line.remedy, command: line.command };
  const who = line.who.length === 0 ? of : { ...of, message: `${line.text} Who could: ${line.who.join(', ')}.` };
  if (line.about === 'gate' && line.outcome !== 'passed' && line.code !== null) return [finding({ ...who, code: line.code, severity: line.outcome === 'refused' ? 'refused' : 'waits' })];
  // Self-approval is told before the merge; that an approval is for something else now is not refused but superseded.
  if (line.about === 'rejected-approval' && line.code !== null) return [finding({ ...who, code: line.code, severity: line.code === 'OtherDigest' || line.code === 'Duplicate' ? 'note' : 'refused' })];
  return [];
}

/** Signatures in the documents that a candidate brings: of nobody, or over something else than the document says now. */
export function checkSignatures(state: LogState, loaded: LoadedDeclarations, ring: KeyRing): readonly Finding[] {
  return loaded.changedKeys.flatMap((key) => {
    const [kind, ...name] = key.split('/');
    if (kind !== 'Approval' && kind !== 'Promotion') return [];
    const found = findDocument(loaded.desired, kind, name.join('/'));
    if (found.status !== 'present') return [];
    const document = found.entry.document as unknown as AnyDocument;
    const fault = document.kind === 'Approval' ? approvalFault(document, ring) : document.kind === 'Promotion' ? intentFault(document, state, loaded.desired, ring) : null;
    return fault === null ? [] : [finding({ ...placeOf(loaded.desired, key), ...fault })];
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

function placeOf(desired: DesiredState, key: DocumentKey): Pick<Finding, 'file' | 'line' | 'subject'> {
  const claim = desired.claims.get(key)?.[0];
  return { file: claim?.file ?? null, line: claim?.line ?? null, subject: key };
}
