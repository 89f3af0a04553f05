import { changeDigest } from '../core/model/preimages.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import { hexOf, type Digest } from '../core/model/digest.ts';
import { documentKey, isProtected, type DocumentKey, type Kind } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { explainDecision } from '../core/decision/explain.ts';
import { bareChanges, pendingIn, sidesOf } from '../core/proposal/pending.ts';
import { rootOf } from '../core/evidence/log-state.ts';
import { keyRingIn } from '../core/trust/key-ring.ts';
import { hasSay, quorumFor } from '../core/trust/quorum.ts';
import { rootHolders } from '../core/trust/root-change.ts';
import { rootRings } from '../core/trust/apply-change.ts';
import { Declarations } from '../reconciler/declarations.ts';
import type { PlanningWorld, Subject } from '../reconciler/planning.ts';
import { subjectsChanged } from '../reconciler/rehearse.ts';
import { changeQuestion, promotionQuestion, subjectOf, type ApproveDesk, type Question } from './approve-questions.ts';
import { fetchHead, type ApproveCandidate } from './approve-target.ts';
import type { LoadedDeclarations, Repository } from './clone.ts';
import { CliError, flagOption } from './command.ts';
import { askForge } from './forge-setting.ts';
import { planSubject } from './plan-subject.ts';

/** One thing in a candidate that is approved by itself. */
type Item = { readonly type: 'promotion'; readonly subject: Subject } | { readonly type: 'change'; readonly only: readonly string[]; readonly digest: Digest };
/** What to ask, and of what else in the candidate why nobody asks this person. */
export type CandidateQuestions = { readonly questions: readonly (() => Promise<Question>)[]; readonly notes: readonly string[] };

/** Everything in a candidate that waits for this person: promotions first, then protected changes. */
export async function candidateQuestions(desk: ApproveDesk, candidate: ApproveCandidate): Promise<CandidateQuestions> {
  const { context, clone, repository, evidence } = desk;
  const loaded = await loadedFor(desk, candidate);
  const world = await clone.worldOf(repository, evidence, loaded, context.now().toISOString());
  const questions: (() => Promise<Question>)[] = [];
  const notes: string[] = [];
  for (const item of itemsIn(world, loaded)) {
    const why = await context.terminal.during('Planning', item.type === 'promotion' ? whyNotPromotion(desk, world, item.subject) : Promise.resolve(whyNotChange(desk, world, loaded, item)));
    if (why === null) questions.push(() => questionFor(desk, loaded, item));
    else notes.push(why);
  }
  return { questions, notes };
}

function questionFor(desk: ApproveDesk, loaded: LoadedDeclarations, item: Item): Promise<Question> {
  return item.type === 'promotion' ? promotionQuestion(desk, loaded, nameOf(item.subject)) : changeQuestion(desk, loaded, { only: item.only, change: item.digest });
}

function nameOf({ environment, application }: Subject): string {
  return `${environment}/${application}`;
}

/** The declarations that are judged. What is merged already is looked at on the target branch, whichever way it got there. */
async function loadedFor({ clone, repository, evidence }: ApproveDesk, { commit, proposal }: ApproveCandidate): Promise<LoadedDeclarations> {
  const merged = proposal?.state === 'merged' ? proposal.mergeCommit : null;
  if (proposal?.state !== 'merged' || merged === null) return clone.loadCandidate(repository, evidence, commit);
  const { reader, parser } = repository;
  const target = await clone.loadCandidate(repository, evidence, merged);
  const [before] = (await reader.log(null, merged, limits.historyCommits)).find((entry) => entry.commit === merged)?.parents ?? [];
  const from = before === undefined ? null : await reader.mergeBase(before, commit);
  if (from === null) return target;
  const declarations = new Declarations(reader, parser);
  await declarations.load(from);
  const { changedKeys, changedPaths } = await declarations.load(commit);
  return { ...target, changedKeys, changedPaths };
}

function itemsIn({ state }: PlanningWorld, loaded: LoadedDeclarations): readonly Item[] {
  const { tip, desired, changedKeys, changedPaths } = loaded;
  const subjects = subjectsChanged({ loaded: { tip, state: desired, changedKeys, changedPaths, parsedFiles: 0 }, batch: { state } });
  const places = [...subjects].sort().filter((name) => desired.usable.Promotion.has(documentKey('Promotion', name)));
  const keys = changedKeys.filter((key) => isProtected(kindOf(key)));
  const [roots, others] = [keys.filter((key) => kindOf(key) === 'TrustRoot'), keys.filter((key) => kindOf(key) !== 'TrustRoot')];
  const changes = [others, roots].flatMap((only): Item[] => {
    const digest = only.length === 0 ? null : pendingIn(state, desired, only).digest;
    return digest === null ? [] : [{ type: 'change', only, digest }];
  });
  return [...places.map((name): Item => ({ type: 'promotion', subject: subjectOf(name) })), ...changes];
}

function kindOf(key: DocumentKey): Kind {
  return key.slice(0, key.indexOf('/')) as Kind;
}

/** Why a promotion does not wait for this person; null where it does. A no may be said of anything that could still run. */
async function whyNotPromotion({ context, clone, repository, principal }: ApproveDesk, world: PlanningWorld, subject: Subject): Promise<string | null> {
  const name = nameOf(subject);
  const one = await planSubject(world, subject, clone.registryOf(context, repository), context.now().toISOString());
  const { input } = one.built;
  if (one.satisfied) return `${name} runs already what this declares.`;
  if (input.promotionDigest === null) return `${name} cannot be planned yet: ${one.lockFault ?? input.problems[0]?.detail ?? 'there is no plan'}.`;
  if (flagOption(context.values, 'reject')) return null;
  const open = explainDecision(one.decision, input).filter(({ about, gate, outcome }) => about === 'gate' && gate === 'approvals' && outcome !== 'passed');
  if (open.some(({ who }) => who.includes(principal))) return null;
  if (input.approvals.some((approval) => approval.principal === principal && approval.action === 'approve')) return `${name}: your approval counts already.`;
  if (open.length === 0) return `${name} needs no more approvals.`;
  const who = [...new Set(open.flatMap((line) => line.who))];
  return `${name}: ${input.requesters.people.includes(principal) ? 'you asked for it, so your approval would not count' : 'your approval would not count'}${who.length === 0 ? '' : `; who could: ${who.join(', ')}`}.`;
}

function whyNotChange({ principal, evidence: { openPgp } }: ApproveDesk, world: PlanningWorld, { desired }: LoadedDeclarations, { only, digest }: Extract<Item, { type: 'change' }>): string | null {
  const { state } = world;
  const { changes } = pendingIn(state, desired, only);
  const what = only.join(', ');
  const said = (state.changeApprovals.get(digest) ?? []).flatMap((key) => state.approvals.get(key) ?? []);
  if (said.some((approval) => approval.principal === principal && approval.action === 'approve')) return `${what}: the log knows your approval already; it is renewed with: stella approve --change ${digest}`;
  const holders = [...keyRingIn(state, openPgp).values()].filter((holder) => holder.principal.metadata.name === principal).map((holder) => holder.principal);
  const counts = changes.some((change) => {
    const { after } = sidesOf(state, desired, change);
    if (change.kind === 'TrustRoot') return after?.kind === 'TrustRoot' && rootRings(state, after, openPgp).flatMap(rootHolders).includes(principal);
    return holders.some((person) => hasSay(quorumFor(rootOf(state), change), person));
  });
  return counts ? null : `${what}: your approval would not count; it needs ${[...new Set(changes.map(({ quorum }) => quorum))].join('; ')}.`;
}

/**
 * The one thing whose digest begins with these digits, among what the target branch waits for, branches that ask for promotions, and pull requests.
 * @throws CliError `DigestUnknown`, `DigestAmbiguous`
 */
export async function questionForDigest(desk: ApproveDesk, digits: string): Promise<{ readonly candidate: ApproveCandidate; readonly question: () => Promise<Question> }> {
  const { context, clone, repository, evidence } = desk;
  const found = new Map<Digest, { readonly candidate: ApproveCandidate; readonly loaded: LoadedDeclarations; readonly item: Item }>();
  for (const candidate of await context.terminal.during('Looking for what has this digest', candidatesFor(desk))) {
    const loaded = await loadedIfPossible(desk, candidate);
    if (loaded === null) continue;
    const world = await clone.worldOf(repository, evidence, loaded, context.now().toISOString());
    for (const { item, digest } of await digestsIn(desk, world, loaded)) {
      if (hexOf(digest).startsWith(digits) && !found.has(digest)) found.set(digest, { candidate, loaded, item });
    }
    if (found.size > 0 && digits.length === 64) break;
  }
  const [first, second] = [...found];
  if (first === undefined) throw new CliError('DigestUnknown', `Nothing that this clone knows of would have the digest ${digits}.`, 'It may have been for an older plan. Fetch and look again: stella explain <environment>/<application>', { exitCode: 1 });
  if (second !== undefined) throw new CliError('DigestAmbiguous', `Several digests begin with ${digits}: ${[...found.keys()].join(', ')}.`, 'Give all 64 digits.');
  return { candidate: first[1].candidate, question: () => questionFor(desk, first[1].loaded, first[1].item) };
}

async function loadedIfPossible(desk: ApproveDesk, candidate: ApproveCandidate): Promise<LoadedDeclarations | null> {
  try {
    return await loadedFor(desk, candidate);
  } catch (error) {
    // One that is in conflict has no plan, and so no digest.
    if (error instanceof CliError) return null;
    throw error;
  }
}

/** The tip of the target branch, what is checked out, branches `promote/*`, and the heads of open pull requests. */
async function candidatesFor(desk: ApproveDesk): Promise<readonly ApproveCandidate[]> {
  const { context, clone, repository, evidence } = desk;
  const { reader } = repository;
  const { target } = await clone.loadCandidate(repository, evidence, evidence.state.tip?.commit ?? 'HEAD');
  const found: ApproveCandidate[] = [{ commit: target, title: 'the target branch', proposal: null }];
  const refs = [...(await reader.listRefs('refs/remotes/origin/promote/')), ...(await reader.listRefs('refs/heads/promote/'))];
  for (const { name } of refs.slice(0, limits.approvalBranches)) {
    const commit = await reader.resolveRef(name);
    if (commit !== null) found.push({ commit, title: name.replace(/^refs\/(?:heads|remotes\/origin)\//, ''), proposal: null });
  }
  const head = await reader.resolveRef('HEAD');
  if (head !== null) found.push({ commit: head, title: 'HEAD', proposal: null });
  const forge = await clone.openForge(context, repository);
  const open = forge === null ? [] : (await askForge(forge.listOpen(evidence.state.tip?.ref ?? 'refs/heads/main'))).proposals;
  const known = new Set(found.map(({ commit }) => commit));
  for (const proposal of open.filter((p) => !known.has(p.head.commit)).slice(0, limits.approvalBranches)) found.push({ commit: await fetchHead(repository, proposal), title: `#${proposal.number} ${proposal.title}`, proposal });
  return unmerged(repository, found, target);
}

async function unmerged({ reader }: Repository, found: readonly ApproveCandidate[], target: CommitId): Promise<readonly ApproveCandidate[]> {
  const kept: ApproveCandidate[] = [];
  for (const one of found) {
    const isOld = one.commit !== target && (await reader.isAncestor(one.commit, target));
    if (!isOld && !kept.some(({ commit }) => commit === one.commit)) kept.push(one);
  }
  return kept;
}

async function digestsIn({ context, clone, repository }: ApproveDesk, world: PlanningWorld, loaded: LoadedDeclarations): Promise<readonly { readonly item: Item; readonly digest: Digest }[]> {
  const { state } = world;
  const items = itemsIn(world, loaded);
  const waiting = [...state.states.values()].filter(({ lastDecision }) => lastDecision !== null && !lastDecision.ended && lastDecision.outcome !== 'allow').map(({ environment, application }): Item => ({ type: 'promotion', subject: { environment, application } }));
  const all = pendingIn(state, loaded.desired);
  const pending: readonly Item[] = all.digest === null ? [] : [{ type: 'change', only: all.changes.map(({ kind, name }) => `${kind}/${name}`), digest: changeDigest(state.logId, bareChanges(all)) }];
  const digests: { item: Item; digest: Digest }[] = [];
  for (const item of [...items, ...(loaded.candidate === undefined && loaded.changedKeys.length === 0 ? waiting : []), ...pending]) {
    const digest = item.type === 'change' ? item.digest : await promotionDigestOf(world, item.subject, clone.registryOf(context, repository), context.now().toISOString());
    if (digest !== null) digests.push({ item, digest });
  }
  return digests;
}

async function promotionDigestOf(world: PlanningWorld, subject: Subject, registry: Parameters<typeof planSubject>[2], asOf: string): Promise<Digest | null> {
  try {
    return (await planSubject(world, subject, registry, asOf)).built.input.promotionDigest;
  } catch (error) {
    if (error instanceof CliError && error.code === 'NoPromotion') return null;
    throw error;
  }
}
