import type { CommitId } from '../core/model/commit-id.ts';
import { documentKey, isProtected, type DocumentKey, type DocumentOf, type Kind } from '../core/model/documents.ts';
import { releaseNamedBy } from '../core/desired/desired-state.ts';
import { agreedChanges, applyChanges, findChangeCommits, type AgreedChange, type ChangeCommit } from './apply-changes.ts';
import { Conditions } from './conditions.ts';
import { decideSubjects, type Judged } from './decide-subjects.ts';
import { lockReleases } from './lock-releases.ts';
import type { BatchRecord } from './log-batch.ts';
import { approvalsInCommits, readNewCommits, type NewCommit } from './new-commits.ts';
import { observeApprovals } from './observe-approvals.ts';
import type { Pass } from './pass.ts';
import { reportDeclarations } from './report-declarations.ts';

/** What a rehearsal shows: records that a server would write, in the batch, and conditions that it would set. */
export type Rehearsal = {
  readonly pass: Pass;
  /** Those with a trailer that names a change. */
  readonly commits: readonly ChangeCommit[];
  readonly subjects: readonly string[];
  readonly judged: readonly Judged[];
  /** Lists of protected changes that people agreed to, before anything came into force. */
  readonly agreed: readonly AgreedChange[];
};

/**
 * The steps of one pass over what a candidate changes, as if it were merged now: the same code, a batch that nobody signs, and nothing is
 * pushed or executed (T18).
 * @param given.batch without signers
 * @param given.loaded its `changedKeys` and `changedPaths` are what is looked at
 * @param documents approvals that a server would find beside it
 */
export async function rehearse(given: Omit<Pass, 'conditions' | 'frozen' | 'pollTags'>, documents: readonly DocumentOf<'Approval'>[]): Promise<Rehearsal> {
  const pass: Pass = { ...given, conditions: new Conditions(), frozen: null, pollTags: false };
  const { batch, candidate } = pass;
  const last = batch.state.tip?.commit ?? null;
  const merged = await newCommits(pass, last);
  const tip = candidate?.commit ?? pass.tip;
  if (last !== tip) batch.add({ type: 'observation', predicate: { type: 'tip', ref: pass.targetRef, commit: tip } });
  observeApprovals(pass, [...(await approvalsInCommits(pass, merged)), ...documents]);
  const commits = await findChangeCommits(pass, merged, [{ commit: tip, observedAt: batch.asOf }]);
  const touchesPolicy = commits.length > 0 || pass.loaded.changedKeys.some(isProtectedKey) || batch.records.some(isAboutPolicy);
  const agreed = touchesPolicy ? await agreedChanges(pass, commits) : [];
  // What the log holds and what time brings is judged by the passes of a server: here only what this candidate may bring into force.
  if (touchesPolicy) await applyChanges(pass, commits, new Map());
  const subjects = subjectsChanged(pass);
  await lockReleases(pass, releasesChanged(pass, subjects));
  const judged = await decideSubjects(pass, subjects);
  reportDeclarations(pass, pass.conditions);
  return { pass, commits, subjects, judged, agreed };
}

function isProtectedKey(key: DocumentKey): boolean {
  return isProtected(key.slice(0, key.indexOf('/')) as Kind);
}

function isAboutPolicy({ record }: BatchRecord): boolean {
  return record.type === 'observation' && record.predicate.type === 'approval' && record.predicate.approves.type === 'change';
}

async function newCommits(pass: Pass, from: CommitId | null): Promise<readonly NewCommit[]> {
  const known = await readNewCommits(pass, from);
  if (pass.candidate === undefined) return known;
  const own = await readNewCommits({ ...pass, tip: pass.candidate.commit }, from);
  return [...known, ...own.filter(({ commit }) => !known.some((other) => other.commit === commit))];
}

function subjectsChanged({ loaded }: Pass): readonly string[] {
  const subjects = new Set<string>();
  for (const key of loaded.changedKeys) {
    const [kind = '', ...name] = key.split('/');
    if (kind === 'Promotion' || kind === 'Configuration') subjects.add(name.join('/'));
    const approval = kind === 'Approval' ? (loaded.state.usable.Approval.get(key)?.document as unknown as DocumentOf<'Approval'> | undefined) : undefined;
    if (approval?.spec.environment !== undefined) subjects.add(`${approval.spec.environment}/${approval.spec.application ?? ''}`);
  }
  for (const entry of loaded.state.usable.Configuration.values()) {
    const { metadata, spec } = entry.document as unknown as DocumentOf<'Configuration'>;
    if (spec.override !== undefined && loaded.changedPaths.includes(spec.override)) subjects.add(metadata.name);
  }
  return [...subjects].filter((name) => loaded.state.usable.Promotion.has(documentKey('Promotion', name)));
}

function releasesChanged({ loaded }: Pass, subjects: readonly string[]): ReadonlySet<DocumentKey> {
  const named = subjects.flatMap((name) => {
    const entry = loaded.state.usable.Promotion.get(documentKey('Promotion', name));
    return entry === undefined ? [] : (releaseNamedBy(entry) ?? []);
  });
  return new Set([...loaded.changedKeys.filter((key) => key.startsWith('Release/')), ...named]);
}
