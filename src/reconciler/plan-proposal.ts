import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import { documentKey, type DocumentKey, type DocumentOf, type ProtectedChange } from '../core/model/documents.ts';
import { parseInstant, type InstantMs } from '../core/model/instant.ts';
import { limits } from '../core/model/limits.ts';
import { compareText, isPairName, splitPair } from '../core/model/names.ts';
import { inForceOf, rootOf, stateKey, type LogState } from '../core/evidence/log-state.ts';
import { boundedPlan } from '../core/proposal/bounded-plan.ts';
import { checkCommits, checkTrailers, type RangeCommit } from '../core/proposal/check-commits.ts';
import { checkDeclarations, checkSignatures } from '../core/proposal/check-documents.ts';
import { diagnoseChange } from '../core/proposal/diagnose.ts';
import { finding, sortedFindings, type Finding } from '../core/proposal/finding.ts';
import type { ProposalPlan, PromotionPlan, ProtectedPlan, ReleasePlan } from '../core/proposal/plan-model.ts';
import { protectedPlans } from '../core/proposal/protected-plan.ts';
import { keyRingIn } from '../core/trust/key-ring.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { GitError, GitReader } from '../ports/git-reader.ts';
import { proposersOf } from './apply-changes.ts';
import type { ArtifactCache } from './artifact-cache.ts';
import { layCandidateOver, type LaidOver } from './candidate.ts';
import { checkEffects, checkRehearsal, unansweredIn, whyPending } from './check-rehearsal.ts';
import { decideSubjects, type Judged } from './decide-subjects.ts';
import { LogBatch } from './log-batch.ts';
import { isUnreadable } from './observe-approvals.ts';
import type { ResolveRegistry } from './pass.ts';
import { planPromotion } from './plan-promotion.ts';
import { rehearse, type Rehearsal } from './rehearse.ts';
import type { Snapshot } from './snapshot.ts';
import type { TouchingCommits } from './touching-commits.ts';

/** What proposals are planned against: what a server's last pass left, or what a clone holds. Many proposals may be planned against one. */
export type ProposalWorld = Snapshot & {
  readonly reader: GitReader;
  readonly parser: DocumentParser;
  readonly openPgp: OpenPgpVerifier;
  /** Of the evidence branch. A server gives proposals a cache of their own, so that no pass loses what it loaded. */
  readonly artifacts: ArtifactCache;
  /** Artifacts at hand besides those of the cache, such as those that a clone has read. */
  readonly artifact?: (digest: Digest) => Uint8Array | undefined;
  readonly touching: TouchingCommits;
  /** Tags are resolved at registries in force alone (T18). */
  readonly registry: ResolveRegistry;
};

export type Proposed = {
  readonly commit: CommitId;
  /** When it is judged; never before the last record of the log. */
  readonly asOf: string;
  /** Approvals that the log has not observed yet and that a server would find beside the candidate. Those that it brings itself are found. */
  readonly approvals?: readonly DocumentOf<'Approval'>[];
};

type Laid = Extract<LaidOver, { readonly ok: true }>;

/**
 * What would happen if `proposed.commit` were merged into the target branch now, laid over its tip (T18): by the steps of a pass, on a batch that
 * nobody signs. Nothing is written, signed or executed, and no secret is resolved. The cost follows what the candidate changed. What cannot be
 * planned is a plan with outcome `error`.
 * @throws GitError when the repository itself cannot be read, and whatever the registry throws
 */
export async function planProposal(world: ProposalWorld, proposed: Proposed): Promise<ProposalPlan> {
  const { commit } = proposed;
  try {
    const laid = await layCandidateOver(world.reader, world.parser, world, commit);
    if (!laid.ok) return refusedPlan(world, proposed, conflictFindings(laid));
    if (laid.candidate.base === commit) return emptyPlan(world, proposed, 'nothing', []);
    if (laid.changedKeys.length > limits.candidateKeys) return refusedPlan(world, proposed, [tooLarge(`it changes ${laid.changedKeys.length} documents, more than the limit of ${limits.candidateKeys}`)]);
    return boundedPlan(await planLaid(world, proposed, laid));
  } catch (cause) {
    if (!isUnreadable(cause)) throw cause;
    const isLong = (cause as GitError).code === 'LimitExceeded';
    return refusedPlan(world, proposed, [finding({
      code: isLong ? 'TooLarge' : 'Unreadable', severity: 'refused', commit, message: `it cannot be planned: ${(cause as GitError).message}`, remedy: isLong ? 'Merge it in smaller parts.' : 'Push it again, or begin a new branch.',
    })]);
  }
}

async function planLaid(world: ProposalWorld, proposed: Proposed, laid: Laid): Promise<ProposalPlan> {
  const { reader, state, tip, targetRef } = world;
  // Before anything is parsed or verified that somebody may have made a million of.
  await reader.log(tip, proposed.commit, limits.candidateCommits);
  const commits = await world.touching.all(tip, proposed.commit, { maxPaths: limits.candidatePaths, parser: world.parser });
  const changedPaths = [...laid.candidate.files.keys()];
  const artifact = (digest: Digest): Uint8Array | undefined => world.artifact?.(digest) ?? world.artifacts.get(digest);
  const batch = new LogBatch(state, null, { artifact, openPgp: world.openPgp }, { commit: tip, asOf: proposed.asOf, engineVersion: 'plan' });
  const loaded = { tip, state: laid.desired, changedKeys: laid.changedKeys, changedPaths, parsedFiles: 0 };
  const played = await rehearse({ ...world, loaded, candidate: laid.candidate, batch }, [...(proposed.approvals ?? []), ...broughtApprovals(laid)], { maxSubjects: limits.plannedSubjects });
  if (played.subjects.length > limits.plannedSubjects) {
    return refusedPlan(world, proposed, [tooLarge(`it changes what runs in ${played.subjects.length} places, more than the limit of ${limits.plannedSubjects}`)]);
  }
  const affected = await judgeAffected(played, laid);
  const promotions: PromotionPlan[] = [];
  for (const judged of [...played.judged, ...affected.judged]) promotions.push(await planPromotion(played.pass, world, judged));
  promotions.sort((a, b) => compareText(`${a.environment}/${a.application}`, `${b.environment}/${b.application}`));
  const changes = await protectedIn(world, played, laid);
  const isChange = changes.length > 0 || promotions.some(({ effect }) => effect !== 'nothing');
  const due = promotions.flatMap(({ decision }) => decision?.nextChangeAt ?? []);
  return {
    ...emptyPlan(world, proposed, isChange ? 'changes' : 'nothing', [...(await findingsOf(world, commits, played, laid)), ...affected.findings]), target: { ref: targetRef, commit: tip }, asOf: batch.asOf,
    promotions, protectedChanges: changes, releases: releasesIn(world, played, laid), nextChangeAt: due.length === 0 ? null : due.reduce((first, at) => (instantOf(at) < instantOf(first) ? at : first)),
  };
}

/** Places whose plan a protected change moves that comes into force with the merge, where that makes any difference. */
async function judgeAffected({ pass, subjects }: Rehearsal, { desired }: Laid): Promise<{ readonly judged: readonly Judged[]; readonly findings: readonly Finding[] }> {
  const changed = pass.batch.records.flatMap(({ record }) => (record.type === 'protected-change' ? record.predicate.changes : []));
  if (changed.length === 0) return { judged: [], findings: [] };
  const known = new Set(subjects);
  const names = [...desired.usable.Promotion.values()].map(({ document }) => document.metadata.name).filter((name) => !known.has(name) && isPairName(name)).sort(compareText);
  const affected = names.filter((name) => changed.some((change) => isAbout(pass.batch.state, change, name)));
  const room = limits.plannedSubjects - subjects.length;
  const judged = await decideSubjects(pass, affected.slice(0, room));
  const news = new Set(pass.batch.records.flatMap(({ record }) => (record.type === 'promotion-decision' ? [stateKey(record.predicate.environment, record.predicate.application)] : [])));
  const message = `${affected.length - room} more places are decided again because of protected changes, and are not shown`;
  return {
    judged: judged.filter(({ subject }) => news.has(stateKey(subject.environment, subject.application))),
    findings: affected.length <= room ? [] : [finding({ code: 'MorePlaces', severity: 'note', message })],
  };
}

function isAbout(state: LogState, { kind, name }: ProtectedChange, subject: string): boolean {
  const [environment, application] = splitPair(subject);
  if (kind === 'Target') {
    const spec = inForceOf(state, 'Target', name)?.spec;
    return spec?.environments.includes(environment) === true && spec.applications.includes(application);
  }
  return (kind === 'Environment' && name === environment) || (kind === 'Application' && name === application);
}

function instantOf(text: string): InstantMs {
  return parseInstant(text) ?? Number.POSITIVE_INFINITY;
}

function emptyPlan({ tip, targetRef, state }: ProposalWorld, { commit, asOf }: Proposed, outcome: ProposalPlan['outcome'], findings: readonly Finding[]): ProposalPlan {
  return {
    type: 'stella/proposal-plan/v1', candidate: commit, target: { ref: targetRef, commit: tip }, logSize: state.size, asOf: state.asOf !== null && asOf < state.asOf ? state.asOf : asOf, outcome,
    promotions: [], protectedChanges: [], releases: [], findings: sortedFindings(findings), nextChangeAt: null,
  };
}

function refusedPlan(world: ProposalWorld, proposed: Proposed, findings: readonly Finding[]): ProposalPlan {
  return emptyPlan(world, proposed, 'error', findings);
}

function tooLarge(message: string): Finding {
  return finding({ code: 'TooLarge', severity: 'refused', message, remedy: 'Merge it in smaller parts.' });
}

function conflictFindings(laid: Extract<LaidOver, { readonly ok: false }>): readonly Finding[] {
  if (laid.code === 'Unrelated') return [finding({ code: 'Unrelated', severity: 'refused', message: 'it has no history in common with the target branch', remedy: 'Begin a branch at the target branch, and commit there.' })];
  if (laid.code === 'TooLarge') return [tooLarge(`it changes ${laid.paths.length} files with documents, more than the limit of ${limits.candidateDocuments}`)];
  return laid.paths.map((file) => finding({ code: 'Conflict', severity: 'refused', file, message: 'this branch and the target branch both changed it', remedy: 'Merge or rebase, so that one commit says what this file holds.' }));
}

/** Documents that lie in the candidate's files. Those that its commits name are found by the rehearsal. */
function broughtApprovals({ desired, changedKeys }: Laid): readonly DocumentOf<'Approval'>[] {
  return changedKeys.flatMap((key) => {
    const entry = key.startsWith('Approval/') ? desired.usable.Approval.get(key) : undefined;
    return entry === undefined ? [] : [entry.document as unknown as DocumentOf<'Approval'>];
  });
}

async function findingsOf(world: ProposalWorld, commits: readonly RangeCommit[], played: Rehearsal, laid: Laid): Promise<readonly Finding[]> {
  const { state, openPgp, reader } = world;
  const ring = keyRingIn(state, openPgp);
  const declared = diagnoseChange(world.desired, laid.desired, laid.changedKeys);
  const unanswered = unansweredIn(checkRehearsal(played, laid), state, laid.desired);
  const own = new Set(commits.map((one) => one.commit));
  return [
    ...checkDeclarations(declared.after, declared.before), ...checkEffects(played.pass, laid), ...checkSignatures(state, laid, ring),
    ...checkTrailers(played.commits.filter((one) => own.has(one.commit)), state), ...checkCommits(commits, { ring, objectFormat: reader.objectFormat, now: instantOf(played.pass.batch.asOf), unanswered }),
  ];
}

async function protectedIn(world: ProposalWorld, played: Rehearsal, laid: Laid): Promise<readonly ProtectedPlan[]> {
  const { state, openPgp } = world;
  const { pass, agreed } = played;
  const question = { state, after: pass.batch.state, ...laid, openPgp, asOf: instantOf(pass.batch.asOf), agreed, why: (change: Parameters<typeof whyPending>[1]) => whyPending(pass, change) };
  const plans = protectedPlans({ ...question, proposers: null });
  if (plans.length === 0 || rootOf(state).spec.proposerCounts) return plans;
  // T15: where nobody may approve their own change, its authors are not among those who could.
  const listed = plans.map(({ kind, name }) => ({ kind, name, count: 0, from: null, to: null }) as Parameters<typeof proposersOf>[1][number]);
  const proposers = await proposersOf(pass, listed);
  return protectedPlans({ ...question, proposers: proposers?.found.people ?? [] });
}

/** Releases among the changed documents. One that is locked keeps its lock, whatever its document says. */
function releasesIn({ desired: before }: ProposalWorld, { pass }: Rehearsal, { desired, changedKeys }: Laid): readonly ReleasePlan[] {
  const keys = changedKeys.filter((key) => key.startsWith('Release/') && documentAt(before, key)?.digest !== documentAt(desired, key)?.digest);
  return [...keys].sort(compareText).map((key) => {
    const [name, old, now] = [key.slice('Release/'.length), documentAt(before, key), documentAt(desired, key)];
    const locked = now === undefined ? undefined : pass.batch.state.locks.get(name);
    const tags = (now?.document as unknown as DocumentOf<'Release'> | undefined)?.spec.components ?? {};
    const components = (locked?.lock.components ?? []).map((component) => ({ name: component.name, tag: Object.hasOwn(tags, component.name) ? (tags[component.name]?.tag ?? null) : null, digest: component.digest }));
    return { name, change: old === undefined ? 'added' : now === undefined ? 'removed' : 'changed', lock: locked?.digest ?? null, components };
  });
}

function documentAt(desired: ProposalWorld['desired'], key: DocumentKey): ReturnType<ProposalWorld['desired']['usable']['Release']['get']> {
  return desired.usable.Release.get(documentKey('Release', key.slice('Release/'.length)));
}
