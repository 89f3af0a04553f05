import type { Digest } from '../core/model/digest.ts';
import type { ApprovalSpec } from '../core/model/documents.ts';
import { explainDecision } from '../core/decision/explain.ts';
import { inForceOf, rootOf } from '../core/evidence/log-state.ts';
import { meetsQuorum, quorumFor } from '../core/trust/quorum.ts';
import { emptyDesiredState } from '../core/desired/desired-state.ts';
import { protectedAmong } from '../core/proposal/check-commits.ts';
import { bareChanges, pendingIn } from '../core/proposal/pending.ts';
import { plain } from '../core/model/plain-text.ts';
import type { PlanningWorld, Subject } from '../reconciler/planning.ts';
import { rootKeysFor } from '../reconciler/root-proposal.ts';
import { signerOf } from './approval-document.ts';
import { changeSpec, changeText, changeView } from './approve-change.ts';
import { promotionSpec, promotionText, promotionView, type Answer, type PromotionView } from './approve-promotion.ts';
import { reviewQuestion } from './approve-review.ts';
import { rewriteQuestion } from './approve-rewrite.ts';
import { commitText, seenCommit, type CloneParts, type Evidence, type LoadedDeclarations, type PersonalKey, type Repository } from './clone.ts';
import { CliError, flagOption, textOption, textOptions, usageError, type CommandContext } from './command.ts';
import { aboutText, earlierChanges, saidBy, sinceApproval, sinceText, standingChanges, standingFor, stands, withdrawalSpec, withdrawalsOf, type DecidedPlans, type SinceApproval } from './earlier-approval.ts';
import { checkTags, planSubject, type PlannedSubject } from './plan-subject.ts';

export type ApproveDesk = {
  readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence; readonly plans: DecidedPlans;
  readonly key: PersonalKey; readonly principal: string;
};

/** What is put before the person: its text, its model, and the documents that their answer becomes. */
export type Question = { readonly text: string; readonly model: object; readonly specs: readonly ApprovalSpec[]; readonly warnings: readonly string[]; /** What is missing once the answer has arrived, as sentences; absent where nobody can tell from here. */ readonly missing?: () => Promise<readonly string[]> };

export function askRewrite(desk: ApproveDesk): Promise<Question> {
  const { context: { values, now } } = desk;
  return rewriteQuestion({ ...desk, now: now().toISOString() }, textOption(values, 'rewrite') ?? '', textOption(values, 'ref') ?? 'HEAD', plainAnswer(desk));
}

export function askReview(desk: ApproveDesk): Question {
  const { context: { positionals, now }, evidence, principal } = desk;
  return reviewQuestion(evidence, subjectOf(positionals[0] ?? ''), { principal, asOf: now().toISOString(), answer: () => plainAnswer(desk) });
}

function plainAnswer({ context: { values }, clone }: ApproveDesk): Answer {
  const [comment, expires] = [textOption(values, 'comment'), textOption(values, 'expires')];
  return { action: flagOption(values, 'reject') ? 'reject' : 'approve', nonce: clone.randomHex(16), ...(comment === undefined ? {} : { comment }), ...(expires === undefined ? {} : { expires }) };
}

/** Who holds the key: a person in force, or for the trust root also who holds a key that only the roots list (T16). */
export function approverOf({ context, evidence, key }: Omit<ApproveDesk, 'principal'>, loaded: LoadedDeclarations): string {
  const pending = context.positionals[0] === undefined ? pendingIn(evidence.state, loaded.desired, textOptions(context.values, 'only')) : null;
  const rings = pending === null ? [] : rootKeysFor(bareChanges(pending), loaded.desired, evidence.state, evidence.openPgp);
  const holder = rings.map((ring) => ring.get(key.fingerprint)).find((found) => found !== undefined);
  return holder === undefined ? signerOf(evidence, key, context.now()).metadata.name : holder.principal.metadata.name;
}

/** The answer to `digest`; a yes says of which earlier withdrawals it knows. */
function answerTo(desk: ApproveDesk, world: PlanningWorld, about: { readonly type: 'promotion' | 'change'; readonly digest: Digest }): Answer {
  const answer = plainAnswer(desk);
  const { action } = answer;
  const despite = action === 'approve' ? withdrawalsOf(saidBy(world, desk.principal, about.type), about.digest) : [];
  return { ...answer, ...(despite.length === 0 ? {} : { despite }) };
}

/** T24: the freezes that this yes lets the promotion through. @throws CliError `NotExcepted` for one that lets nobody say so */
function exceptedBy({ context, evidence }: ApproveDesk): Pick<Answer, 'excepts'> {
  const excepts = [...new Set(textOptions(context.values, 'except'))].sort();
  for (const name of excepts) {
    const found = inForceOf(evidence.state, 'Freeze', name);
    if (found?.spec.except === undefined) throw new CliError('NotExcepted', found === null ? `No freeze ${name} is in force.` : `Freeze ${name} lets nobody except anything.`, 'See: stella stop list', { exitCode: 1 });
  }
  return excepts.length === 0 ? {} : { excepts };
}

export async function promotionQuestion(desk: ApproveDesk, loaded: LoadedDeclarations, name: string): Promise<Question> {
  const { context, clone, repository, evidence, principal } = desk;
  const subject = subjectOf(name);
  const asOf = context.now().toISOString();
  const world = await clone.worldOf(repository, evidence, loaded, asOf);
  const registry = clone.registryOf(context, repository);
  const one = await context.terminal.during('Planning', planSubject(world, subject, registry, asOf));
  if (one.satisfied) throw new CliError('NothingToApprove', `${name} runs already what this commit declares.`, null, { exitCode: 1 });
  const tags = await context.terminal.during('Resolving tags', checkTags(world, one, registry));
  const view = promotionView(world, one, tags);
  const answer = { ...answerTo(desk, world, view), ...exceptedBy(desk) };
  const warnings = warningsAbout(view, answer, principal);
  const others = protectedAmong(loaded.changedKeys);
  if (others.length > 0) warnings.push(`note: this branch changes ${others.slice(0, 5).join(', ')}${others.length > 5 ? ' and more' : ''} as well, which is not in force and not in what you approve here; if it is to change what runs, it comes into force first: stella approve --pending`);
  const since = flagOption(context.values, 'refresh') ? refreshed(desk, { world, one, view }) : null;
  if (since === 'unknown') warnings.push('note: the log does not hold what you approved before, so all of it is shown');
  const isShort = since !== null && since !== 'unknown';
  const text = isShort ? sinceText(view, since) : promotionText(view);
  return {
    text: `${text}\n  commit      ${commitText(loaded)}`, model: { ...view, ...(isShort ? { since } : {}), seenAt: seenCommit(loaded), onto: loaded.tip }, specs: [promotionSpec(view, answer)], warnings,
    missing: () => missingGates(desk, loaded, subject, view.digest),
  };
}

/** What a server would still say of it, as far as this clone can tell, now that the answer lies on its branch. */
async function missingGates({ context, clone, repository, evidence }: ApproveDesk, loaded: LoadedDeclarations, subject: Subject, digest: Digest): Promise<readonly string[]> {
  const asOf = context.now().toISOString();
  const world = await clone.worldOf(repository, evidence, loaded, asOf);
  const one = await context.terminal.during('Planning', planSubject(world, subject, clone.registryOf(context, repository), asOf));
  if (one.built.input.promotionDigest !== digest) return ['What would run has changed meanwhile, so this answer is for something else than the next plan. Look again.'];
  const closed = explainDecision(one.decision, one.built.input).filter(({ about, outcome }) => about === 'gate' && outcome !== 'passed');
  return closed.map(({ text, who }) => `${text}${who.length === 0 ? '' : ` Who could: ${who.join(', ')}.`}`);
}

export function subjectOf(name: string): Subject {
  const [environment = '', application = '', more] = name.split('/');
  if (environment === '' || application === '' || more !== undefined) throw usageError('Name environment and application, such as prod/shop.', { name: 'approve' });
  return { environment, application };
}

function warningsAbout(view: PromotionView, answer: Answer, principal: string): string[] {
  const warnings: string[] = [];
  if (answer.action === 'approve' && view.requesters.includes(principal)) warnings.push(`note: ${principal} asked for this, so this approval counts only where a rule lets authors approve`);
  if (answer.action === 'approve' && view.rejectedBy.includes(principal)) warnings.push(`note: ${principal} rejected this before, and a no is not taken back`);
  if (answer.despite !== undefined) warnings.push(`note: ${principal} withdrew an approval of this before; this one stands in spite of that`);
  if (answer.excepts !== undefined) warnings.push(`note: this lets it through ${answer.excepts.join(', ')} as well, as far as the freeze says that ${principal} may`);
  if (view.rules.length === 0) warnings.push(`note: no rule asks for approvals in ${view.environment}`);
  return warnings;
}

/** What is other than at the last approval of this person here. @throws CliError `NothingToRefresh`, `NothingToApprove` */
function refreshed({ plans, principal }: ApproveDesk, { world, one, view }: { readonly world: PlanningWorld; readonly one: PlannedSubject; readonly view: PromotionView }): SinceApproval | 'unknown' {
  const said = stands(saidBy(world, principal, 'promotion')).filter(({ seen }) => seen.subject?.environment === view.environment && seen.subject.application === view.application);
  const earlier = said.at(-1);
  if (earlier === undefined) throw new CliError('NothingToRefresh', `${principal} has approved nothing in ${view.environment}/${view.application} that the log knows.`, `Look at all of it: stella approve ${view.environment}/${view.application}`, { exitCode: 1 });
  if (view.approvedBy.includes(principal)) throw new CliError('NothingToApprove', `Nothing changed: the approval of ${principal} counts as it is.`, null, { exitCode: 1 });
  const { plan } = one.planned.material;
  return plan === null ? 'unknown' : (sinceApproval(earlier, plans, { world, plan, view, rules: one.built.input.clauses }) ?? 'unknown');
}

export async function changeQuestion(desk: ApproveDesk, loaded: LoadedDeclarations, which?: { readonly only: readonly string[]; readonly change: string | undefined }): Promise<Question> {
  const { context, clone, repository, evidence, principal } = desk;
  const world = await clone.worldOf(repository, evidence, loaded, context.now().toISOString());
  const p = which ?? { only: textOptions(context.values, 'only'), change: textOption(context.values, 'change') };
  const first = changeView(world, loaded, { ...p, earlier: [] });
  const keys = new Set(first.changes.map(({ kind, name }) => `${kind}/${name}`));
  const earlier = flagOption(context.values, 'refresh') ? earlierChanges(saidBy(world, principal, 'change'), keys) : [];
  const { rootLeftOut, liftings, ...view } = earlier.length === 0 ? first : changeView(world, loaded, { ...p, earlier });
  const warnings = rootLeftOut ? ['note: the trust root differs as well and is left out; it changes alone: stella approve --pending --only TrustRoot'] : [];
  if (liftings.length > 0) warnings.push(`note: ${liftings.join(', ')} would be lifted and is left out, because a stop is lifted only on purpose: stella approve --pending --only ${liftings[0] ?? ''}`);
  if (flagOption(context.values, 'refresh') && earlier.length === 0) warnings.push('note: the log knows no earlier approval of these documents by you, so all of it is shown');
  return { text: changeText(world, loaded, view), model: view, specs: [changeSpec(view, answerTo(desk, world, view))], warnings, missing: () => missingVoices(desk, loaded, { only: [...keys], change: view.digest }) };
}

async function missingVoices({ context, clone, repository, evidence }: ApproveDesk, loaded: LoadedDeclarations, p: { readonly only: readonly string[]; readonly change: string }): Promise<readonly string[]> {
  const world = await clone.worldOf(repository, evidence, loaded, context.now().toISOString());
  const { changes, approvedBy } = changeView(world, loaded, { ...p, earlier: [] });
  const people = approvedBy.flatMap((name) => inForceOf(world.state, 'Principal', name) ?? []);
  // The trust root counts keys of its own (T16), so of that only what is said is told.
  if (changes.every((change) => change.kind !== 'TrustRoot' && meetsQuorum(quorumFor(rootOf(world.state), change), people))) return [];
  const quorums = [...new Set(changes.map(({ quorum }) => quorum))];
  return [`It needs ${quorums.join('; ')}; approved by ${approvedBy.join(', ') || 'nobody yet'}.`];
}

/** Needs no plan, and so no branch without conflicts and no registry: taking back must be easy. @throws CliError `NothingToWithdraw` */
export async function withdrawQuestion({ context, clone, repository, evidence, principal }: ApproveDesk): Promise<Question> {
  const tip = evidence.state.tip?.commit;
  if (tip === undefined) throw new CliError('NothingToWithdraw', 'The log has seen nothing yet.', null, { exitCode: 1 });
  const world = await clone.worldOf(repository, evidence, { tip, target: tip, desired: emptyDesiredState(), changedKeys: [], changedPaths: [] }, context.now().toISOString());
  const [name] = context.positionals;
  const said = saidBy(world, principal, name === undefined ? 'change' : 'promotion');
  const standing = name === undefined ? standingChanges(said, world.state, { change: textOption(context.values, 'change'), only: textOptions(context.values, 'only') }) : standingFor(said, subjectOf(name), world.state);
  const byDigest = new Map(standing.map((one) => [one.seen.approves.digest, one]));
  if (byDigest.size === 0) throw new CliError('NothingToWithdraw', `There is no approval by ${principal} that could be withdrawn.`, 'See what was observed: git fetch origin; stella explain.', { exitCode: 1 });
  const comment = textOption(context.values, 'comment');
  const specs = [...byDigest.values()].map(({ document }) => withdrawalSpec(document.spec, clone.randomHex(16), comment));
  const lines = [...byDigest.values()].map(({ seen, document }) => plain(`Approval of ${aboutText(document.spec)} by ${principal}, observed ${seen.observedAt}, digest ${seen.approves.digest}`));
  return { text: lines.join('\n'), model: { type: 'withdrawal', digest: specs[0]?.digest, withdrawn: specs.map(({ type, digest }) => ({ type, digest })) }, specs, warnings: [] };
}

