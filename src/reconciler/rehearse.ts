import type { CommitId } from '../core/model/commit-id.ts';
import { documentKey, isProtected, type DocumentKey, type DocumentOf, type Kind } from '../core/model/documents.ts';
import { automaticPlaces, automaticRule, type Place } from '../core/decision/automatic.ts';
import { appStateOf, type LogState } from '../core/evidence/log-state.ts';
import { releaseNamedBy, type Entry } from '../core/desired/desired-state.ts';
import { agreedChanges, applyChanges, findChangeCommits, type AgreedChange, type ChangeCommit } from './apply-changes.ts';
import { Conditions } from './conditions.ts';
import { decideSubjects, type Judged } from './decide-subjects.ts';
import { lockReleases } from './lock-releases.ts';
import type { BatchRecord } from './log-batch.ts';
import { approvalsInCommits, readNewCommits, type NewCommit } from './new-commits.ts';
import { observeApprovals } from './observe-approvals.ts';
import { isPairName } from '../core/model/names.ts';
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
 * @param options.maxSubjects nothing is locked or decided where the candidate touches more
 */
export async function rehearse(given: Omit<Pass, 'conditions' | 'frozen' | 'pollTags'>, documents: readonly DocumentOf<'Approval'>[], options: { readonly maxSubjects?: number } = {}): Promise<Rehearsal> {
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
  if (subjects.length > (options.maxSubjects ?? Number.POSITIVE_INFINITY)) return { pass, commits, subjects, judged: [], agreed };
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

/** `<environment>/<application>` of everything that a candidate may change the request for, what runs, or its approvals. */
export function subjectsChanged({ loaded, batch }: Pick<Pass, 'loaded'> & { readonly batch: Pick<Pass['batch'], 'state'> }): readonly string[] {
  const subjects = new Set<string>();
  const automatic = automaticPlaces(batch.state);
  for (const key of loaded.changedKeys) {
    const [kind = '', ...name] = key.split('/');
    if (kind === 'Promotion' || kind === 'Configuration') subjects.add(name.join('/'));
    // What a channel holds, or no longer offers, is wanted where nobody promotes.
    if (kind === 'Release') for (const place of automatic) if (mayFollow(batch.state, place, name)) subjects.add(`${place.environment}/${place.application}`);
    const approval = kind === 'Approval' ? (loaded.state.usable.Approval.get(key)?.document as unknown as DocumentOf<'Approval'> | undefined) : undefined;
    if (approval?.spec.environment !== undefined) subjects.add(`${approval.spec.environment}/${approval.spec.application ?? ''}`);
  }
  const byOverride = loaded.state.usable.Configuration.grouped(overrideOf);
  for (const path of loaded.changedPaths) for (const { document } of byOverride.get(path) ?? []) subjects.add(document.metadata.name);
  const [changed, promotions] = [new Set<string>(loaded.changedKeys), loaded.state.usable.Promotion];
  const isAutomatic = (name: string): boolean => automatic.some(({ environment, application }) => name === `${environment}/${application}`);
  // One that was deleted is looked at as well: a request that waits is withdrawn.
  const isPromoted = (name: string): boolean => promotions.has(documentKey('Promotion', name)) || changed.has(documentKey('Promotion', name));
  return [...subjects].filter((name) => isPairName(name) && (isPromoted(name) || isAutomatic(name)));
}

/** A path is never empty, so what names no file is found by none. Asked of the same map twice, the second costs nothing. */
function overrideOf(entry: Entry): string {
  return (entry.document as unknown as DocumentOf<'Configuration'>).spec.override ?? '';
}

/** Whether a Release can change what is wanted in an automatic place: of a channel any can, of another environment what runs there. */
function mayFollow(state: LogState, place: Place, [application, version]: readonly string[]): boolean {
  const from = automaticRule(state, place)?.from;
  return place.application === application && (from === undefined || appStateOf(state, from, place.application).release === version);
}

function releasesChanged({ loaded }: Pass, subjects: readonly string[]): ReadonlySet<DocumentKey> {
  const named = subjects.flatMap((name) => {
    const entry = loaded.state.usable.Promotion.get(documentKey('Promotion', name));
    return entry === undefined ? [] : (releaseNamedBy(entry) ?? []);
  });
  return new Set([...loaded.changedKeys.filter((key) => key.startsWith('Release/')), ...named]);
}
