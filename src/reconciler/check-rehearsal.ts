import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { documentKey, type DocumentKey, type DocumentOf, type Kind, type ProtectedChange } from '../core/model/documents.ts';
import { splitPair } from '../core/model/names.ts';
import { explainDecision, type ExplainLine } from '../core/decision/explain.ts';
import type { Decision, DecisionInput } from '../core/decision/types.ts';
import type { DesiredState } from '../core/desired/desired-state.ts';
import { rootOf, type LogState } from '../core/evidence/log-state.ts';
import { beforeMerge } from '../core/proposal/before-merge.ts';
import { protectedAmong } from '../core/proposal/check-commits.ts';
import { placeOf, type Brought } from '../core/proposal/check-documents.ts';
import { finding, type Finding } from '../core/proposal/finding.ts';
import { pendingIn } from '../core/proposal/pending.ts';
import type { Rehearsal } from './rehearse.ts';

/** What a server would say of the candidate: protected changes that do not come into force, releases that cannot be locked, gates that do not open. */
export function checkRehearsal({ pass, subjects }: Rehearsal, brought: Brought): readonly Finding[] {
  return [...changeFindings(pass, brought), ...checkEffects(pass, brought), ...decisionFindings(pass, subjects, brought.desired)];
}

/** What of the candidate's own documents has no effect, and which releases cannot be locked. */
export function checkEffects(pass: Pass, brought: Brought): readonly Finding[] {
  return [...effectFindings(pass, brought), ...releaseFindings(pass, brought)];
}

/** Why what is pending does not come into force, where the pass said so. */
export function whyPending({ conditions }: Pass, { kind }: Pick<ProtectedChange, 'kind'>): string | null {
  const said = conditions.all().find((c) => c.type === 'Stalled' && (c.kind === 'Policy' || c.kind === 'TrustRoot') && (c.kind === 'TrustRoot') === (kind === 'TrustRoot'));
  return /\(([^)]*)\); approve with/.exec(said?.message ?? '')?.[1] ?? (said?.kind === 'TrustRoot' ? said.message : null);
}

type Pass = Rehearsal['pass'];

function changeFindings(pass: Pass, brought: Brought): readonly Finding[] {
  // What is pending costs what is protected, and most candidates touch nothing of it.
  if (protectedAmong(brought.changedKeys).length === 0) return [];
  const { batch, conditions } = pass;
  const touched = new Set<string>(brought.changedKeys);
  const all = ['TrustRoot'].map((only) => pendingIn(batch.state, brought.desired, [only]));
  const pending = [pendingIn(batch.state, brought.desired), ...all].flatMap(({ changes, digest }) => changes.map((change) => ({ change, digest })));
  const stalled = conditions.all().filter((c) => c.type === 'Stalled' && (c.kind === 'Policy' || c.kind === 'TrustRoot'));
  return pending.filter(({ change }) => touched.has(`${change.kind}/${change.name}`)).map(({ change, digest }) => {
    const said = stalled.find((c) => (c.kind === 'TrustRoot') === (change.kind === 'TrustRoot'));
    const why = whyPending(pass, change);
    return finding({
      ...placeOf(brought.desired, documentKey(change.kind, change.name)), code: said?.reason ?? 'ChangePending', severity: 'refused',
      message: `${change.kind}/${change.name} ${change.from === null ? 'is new' : change.to === null ? 'is deleted' : 'changes'} and would not come into force: it needs ${change.quorum}${why === null ? '' : ` (${why})`}`,
      remedy: 'Those who may approve it do so, before or after the merge.', command: `stella approve --change ${digest ?? ''}`,
    });
  });
}

/** Documents that have no effect under what is in force, though the tree itself holds together. */
function effectFindings({ conditions }: Pass, brought: Brought): readonly Finding[] {
  const touched = new Set<string>(brought.changedKeys);
  return conditions.all().filter((c) => c.reason === 'Declaration' && c.kind !== 'File' && touched.has(`${c.kind}/${c.name}`)).map((c) => {
    const [, code = 'Declaration', message = c.message] = /: (?:error|warning) (\w+): (.*)$/s.exec(c.message) ?? [];
    return finding({ code, severity: 'refused', file: c.file, line: c.line, subject: documentKey(c.kind as Kind, c.name), message, remedy: null });
  });
}

function releaseFindings({ conditions }: Pass, brought: Brought): readonly Finding[] {
  return conditions.all().filter((c) => c.kind === 'Release' && c.type === 'Stalled' && c.reason !== 'Declaration').map((c) => finding({
    ...placeOf(brought.desired, documentKey('Release', c.name)), code: c.reason, severity: c.reason === 'RegistryFault' || c.reason === 'TagUnresolved' ? 'waits' : 'refused', message: c.message,
    remedy: c.reason === 'ReleaseChanged' ? 'A release that is locked stays what it is: give new content a new version.' : null,
  }));
}

/** Of each subject the last decision, gate by gate. */
function decisionFindings({ batch, candidate, tip }: Pass, subjects: readonly string[], desired: DesiredState): readonly Finding[] {
  const unmerged = candidate?.commit ?? tip;
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
    return made === undefined ? [] : beforeMerge(explainDecision(made.decision, made.input), made.input, unmerged).flatMap((line) => gateFinding(line, place));
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

/** Documents whose author must be known and is not: of requests that are refused for it (T20), and of changes where no proposer counts (T15). */
export function unansweredIn(rehearsed: readonly Finding[], state: LogState, desired: DesiredState): ReadonlySet<DocumentKey> {
  const keys = new Set<DocumentKey>();
  for (const { code, severity, subject } of rehearsed) {
    if (subject === null || severity !== 'refused') continue;
    if ((code === 'ChangePending' || code === 'ChangeRefused') && !rootOf(state).spec.proposerCounts) keys.add(subject as DocumentKey);
    if (code !== 'RequesterUnknown') continue;
    const name = subject.slice('Promotion/'.length);
    const promotion = desired.usable.Promotion.get(documentKey('Promotion', name))?.document as unknown as DocumentOf<'Promotion'> | undefined;
    for (const key of [documentKey('Promotion', name), documentKey('Configuration', name), documentKey('Release', `${splitPair(name)[1]}/${promotion?.spec.release ?? ''}`)]) keys.add(key);
  }
  return keys;
}
