import { parseInstant } from '../../core/model/instant.ts';
import type { Digest } from '../../core/model/digest.ts';
import type { ApprovalSpec, DocumentOf } from '../../core/model/documents.ts';
import { inForceOf } from '../../core/evidence/log-state.ts';
import { emptyDesiredState } from '../../core/desired/desired-state.ts';
import type { PlanningWorld, Subject } from '../../reconciler/planning.ts';
import { rootKeysFor } from '../../reconciler/root-proposal.ts';
import { approvalPath, signedApproval, signerOf } from '../approval-document.ts';
import { changeSpec, changeText, changeView } from '../approve-change.ts';
import { promotionSpec, promotionText, promotionView, type Answer, type PromotionView } from '../approve-promotion.ts';
import { reviewQuestion } from '../approve-review.ts';
import { rewriteQuestion } from '../approve-rewrite.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, LAYOUT_OPTION, REF_OPTION, commitText, seenCommit, type CloneParts, type Evidence, type LoadedDeclarations, type PersonalKey, type Repository } from '../clone.ts';
import { protectedAmong } from '../../core/proposal/check-commits.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, textOptions, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { aboutText, DecidedPlans, earlierChanges, saidBy, sinceApproval, sinceText, standingChanges, standingFor, stands, withdrawalSpec, withdrawalsOf, type SinceApproval } from '../earlier-approval.ts';
import { bareChanges, pendingIn } from '../../core/proposal/pending.ts';
import { checkTags, planSubject, type PlannedSubject } from '../plan-subject.ts';
import { publishApproval, remoteFor, type Published } from '../publish-approval.ts';
import { requireEvidence } from '../require-evidence.ts';
import { plain } from '../../core/model/plain-text.ts';

export const command: Command<CloneParts> = {
  name: 'approve',
  summary: 'Approve or reject a promotion or a protected change',
  usage: [
    'stella approve <environment>/<application> [--ref REF] [--reject | --refresh]', 'stella approve --pending [--only Kind/name]', 'stella approve --change sha256:…',
    'stella approve --rewrite <from>..<to>', 'stella approve --review <environment>/<application>',
    'stella approve <environment>/<application> --withdraw', 'stella approve --pending --withdraw',
  ],
  help: `
Shows exactly what would be approved: components with old and new digests, files and variables that differ, targets,
workflow, rules, and who has approved. Then asks, and signs an Approval with your SSH key. The signature covers a
digest of all of that, so any later change makes the approval void, while squash, rebase and mirrors do not.

The tags are resolved from this machine as well, and the approval says whether the digests were the same. It goes to
a branch of its own on origin, so you need no push rights on the requester's branch; the server collects it. Without
that remote it stays on a local branch. A branch that is behind is planned as the tip of the target branch with its
files laid over; a file that both changed is a conflict, and nothing is approved.

With --pending or --change you approve changes of protected documents, such as principals, environments and targets:
what is in force is shown against what the commit says. The trust root changes alone: --only TrustRoot.

--rewrite accepts that the target branch goes on from a commit that does not descend from the last recorded one: name
both, or the digest that the server names. --review answers for broken glass afterwards, by somebody who took no part.

--withdraw takes back what you approved before; a no stays. --refresh shows only what is other than when you last
approved here, and approves that.

Example:
  stella approve prod/shop
  stella approve prod/shop --ref feature-branch --comment "seen in staging"
  stella approve prod/shop --reject --comment "not before Monday"
  stella approve prod/shop --withdraw
  stella approve prod/shop --refresh
  stella approve --pending --only Environment/prod

Exit codes: 0 signed, 1 there is nothing to approve or you said no, 2 error.`,
  options: {
    pending: { type: 'boolean', description: 'All protected changes of the commit that are not in force' },
    change: { type: 'string', value: 'sha256:…', description: 'The protected change with this digest' },
    only: { type: 'string', multiple: true, value: 'KIND/NAME', description: 'Of the protected changes only this one; may be given again' },
    rewrite: { type: 'string', value: 'FROM..TO', description: 'Another history of the target branch; also by its digest, with --ref' },
    review: { type: 'boolean', description: 'A promotion there that broke the glass' },
    except: { type: 'string', multiple: true, value: 'FREEZE', description: 'Let it through this freeze, if the freeze says that you may; may be given again' },
    reject: { type: 'boolean', description: 'Say no instead of yes' },
    withdraw: { type: 'boolean', description: 'Take back your earlier approval' },
    refresh: { type: 'boolean', description: 'Show only what changed since your last approval, then approve' },
    comment: { type: 'string', value: 'TEXT', description: 'A word with it' },
    expires: { type: 'string', value: 'TIME', description: 'The approval counts until then: 2031-05-17T09:30:00Z' },
    yes: { type: 'boolean', short: 'y', description: 'Do not ask' },
    remote: { type: 'string', value: 'NAME', description: 'Remote to push to (default: origin)' },
    'no-push': { type: 'boolean', description: 'Leave the approval on a local branch' },
    file: { type: 'boolean', description: 'Only write the file below approvals/; commit it yourself' },
    ...KEY_OPTION, ...REF_OPTION, ...EVIDENCE_OPTIONS, ...LAYOUT_OPTION, ...OUTPUT_OPTION,
  },
  run,
};

type Desk = {
  readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence; readonly plans: DecidedPlans;
  readonly key: PersonalKey; readonly principal: string;
};
/** What is put before the person: its text, its model, and the documents that their answer becomes. */
type Question = { readonly text: string; readonly model: object; readonly specs: readonly ApprovalSpec[]; readonly warnings: readonly string[] };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const isChange = flagOption(context.values, 'pending') || textOption(context.values, 'change') !== undefined;
  const [name, ...rest] = context.positionals;
  const isRewrite = textOption(context.values, 'rewrite') !== undefined;
  if (rest.length > 0 || (name === undefined) !== (isChange || isRewrite)) throw usageError('Name one promotion, such as prod/shop, or --pending, --change, or --rewrite.', command);
  const isAfterwards = isRewrite || flagOption(context.values, 'review');
  if (isAfterwards && (isChange || flagOption(context.values, 'withdraw') || flagOption(context.values, 'refresh'))) throw usageError('--rewrite and --review stand alone, but for --reject.', command);
  if (['reject', 'withdraw', 'refresh'].filter((option) => flagOption(context.values, option)).length > 1) throw usageError('--reject, --withdraw and --refresh are three answers; give one.', command);
  demandExpiry(context);
  demandExcept(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const plans = new DecidedPlans();
    const evidence = await requireEvidence(context, clone, repository, plans.visit);
    const key = await clone.personalKey(context, repository);
    const desk = { context, clone, repository, evidence, plans, key };
    if (flagOption(context.values, 'withdraw')) return await settle({ ...desk, principal: signerOf(evidence, key, context.now()).metadata.name }, withdrawQuestion);
    if (isAfterwards) return await settle({ ...desk, principal: signerOf(evidence, key, context.now()).metadata.name }, isRewrite ? askRewrite : askReview);
    const loaded = await clone.loadCandidate(repository, evidence, textOption(context.values, 'ref') ?? 'HEAD');
    const principal = approverOf(desk, loaded);
    return await settle({ ...desk, principal }, (whole) => (name === undefined ? changeQuestion(whole, loaded) : promotionQuestion(whole, loaded, name)));
  } finally {
    await repository.close();
  }
}

function demandExpiry({ values, now }: CommandContext): void {
  const expires = textOption(values, 'expires');
  if (expires === undefined) return;
  const at = parseInstant(expires);
  if (flagOption(values, 'withdraw')) throw usageError('What is withdrawn stays so: --expires does not go with --withdraw.', command);
  if (at === null) throw usageError(`--expires ${expires} is no time in UTC; write it as 2031-05-17T09:30:00Z.`, command);
  if (at <= now().getTime()) throw usageError(`--expires ${expires} is past.`, command);
}

function demandExcept({ values, positionals }: CommandContext): void {
  if (textOptions(values, 'except').length === 0) return;
  const isYes = positionals.length === 1 && !['reject', 'withdraw', 'review'].some((option) => flagOption(values, option));
  if (!isYes) throw usageError('--except goes with the approval of a promotion, and with nothing else.', command);
}

/** T24: the freezes that this yes lets the promotion through. @throws CliError `NotExcepted` for one that lets nobody say so */
function exceptedBy({ context, evidence }: Desk): Pick<Answer, 'excepts'> {
  const excepts = [...new Set(textOptions(context.values, 'except'))].sort();
  for (const name of excepts) {
    const found = inForceOf(evidence.state, 'Freeze', name);
    if (found?.spec.except === undefined) throw new CliError('NotExcepted', found === null ? `No freeze ${name} is in force.` : `Freeze ${name} lets nobody except anything.`, 'See: stella stop list', { exitCode: 1 });
  }
  return excepts.length === 0 ? {} : { excepts };
}

function askRewrite(desk: Desk): Promise<Question> {
  const { context: { values, now } } = desk;
  return rewriteQuestion({ ...desk, now: now().toISOString() }, textOption(values, 'rewrite') ?? '', textOption(values, 'ref') ?? 'HEAD', plainAnswer(desk));
}

function askReview(desk: Desk): Question {
  const { context: { positionals, now }, evidence, principal } = desk;
  return reviewQuestion(evidence, subjectOf(positionals[0] ?? ''), { principal, asOf: now().toISOString(), answer: () => plainAnswer(desk) });
}

function plainAnswer({ context: { values }, clone }: Desk): Answer {
  const [comment, expires] = [textOption(values, 'comment'), textOption(values, 'expires')];
  return { action: flagOption(values, 'reject') ? 'reject' : 'approve', nonce: clone.randomHex(16), ...(comment === undefined ? {} : { comment }), ...(expires === undefined ? {} : { expires }) };
}

/** Who holds the key: a person in force, or for the trust root also who holds a key that only the roots list (T16). */
function approverOf({ context, evidence, key }: Omit<Desk, 'principal'>, loaded: LoadedDeclarations): string {
  const pending = context.positionals[0] === undefined ? pendingIn(evidence.state, loaded.desired, textOptions(context.values, 'only')) : null;
  const rings = pending === null ? [] : rootKeysFor(bareChanges(pending), loaded.desired, evidence.state, evidence.openPgp);
  const holder = rings.map((ring) => ring.get(key.fingerprint)).find((found) => found !== undefined);
  return holder === undefined ? signerOf(evidence, key, context.now()).metadata.name : holder.principal.metadata.name;
}

/** The answer to `digest`; a yes says of which earlier withdrawals it knows. */
function answerTo(desk: Desk, world: PlanningWorld, about: { readonly type: 'promotion' | 'change'; readonly digest: Digest }): Answer {
  const answer = plainAnswer(desk);
  const { action } = answer;
  const despite = action === 'approve' ? withdrawalsOf(saidBy(world, desk.principal, about.type), about.digest) : [];
  return { ...answer, ...(despite.length === 0 ? {} : { despite }) };
}

async function promotionQuestion(desk: Desk, loaded: LoadedDeclarations, name: string): Promise<Question> {
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
  };
}

function subjectOf(name: string): Subject {
  const [environment = '', application = '', more] = name.split('/');
  if (environment === '' || application === '' || more !== undefined) throw usageError('Name environment and application, such as prod/shop.', command);
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
function refreshed({ plans, principal }: Desk, { world, one, view }: { readonly world: PlanningWorld; readonly one: PlannedSubject; readonly view: PromotionView }): SinceApproval | 'unknown' {
  const said = stands(saidBy(world, principal, 'promotion')).filter(({ seen }) => seen.subject?.environment === view.environment && seen.subject.application === view.application);
  const earlier = said.at(-1);
  if (earlier === undefined) throw new CliError('NothingToRefresh', `${principal} has approved nothing in ${view.environment}/${view.application} that the log knows.`, `Look at all of it: stella approve ${view.environment}/${view.application}`, { exitCode: 1 });
  if (view.approvedBy.includes(principal)) throw new CliError('NothingToApprove', `Nothing changed: the approval of ${principal} counts as it is.`, null, { exitCode: 1 });
  const { plan } = one.planned.material;
  return plan === null ? 'unknown' : (sinceApproval(earlier, plans, { world, plan, view, rules: one.built.input.clauses }) ?? 'unknown');
}

async function changeQuestion(desk: Desk, loaded: LoadedDeclarations): Promise<Question> {
  const { context, clone, repository, evidence, principal } = desk;
  const world = await clone.worldOf(repository, evidence, loaded, context.now().toISOString());
  const p = { only: textOptions(context.values, 'only'), change: textOption(context.values, 'change') };
  const first = changeView(world, loaded, { ...p, earlier: [] });
  const keys = new Set(first.changes.map(({ kind, name }) => `${kind}/${name}`));
  const earlier = flagOption(context.values, 'refresh') ? earlierChanges(saidBy(world, principal, 'change'), keys) : [];
  const { rootLeftOut, liftings, ...view } = earlier.length === 0 ? first : changeView(world, loaded, { ...p, earlier });
  const warnings = rootLeftOut ? ['note: the trust root differs as well and is left out; it changes alone: stella approve --pending --only TrustRoot'] : [];
  if (liftings.length > 0) warnings.push(`note: ${liftings.join(', ')} would be lifted and is left out, because a stop is lifted only on purpose: stella approve --pending --only ${liftings[0] ?? ''}`);
  if (flagOption(context.values, 'refresh') && earlier.length === 0) warnings.push('note: the log knows no earlier approval of these documents by you, so all of it is shown');
  return { text: changeText(world, loaded, view), model: view, specs: [changeSpec(view, answerTo(desk, world, view))], warnings };
}

/** Needs no plan, and so no branch without conflicts and no registry: taking back must be easy. @throws CliError `NothingToWithdraw` */
async function withdrawQuestion({ context, clone, repository, evidence, principal }: Desk): Promise<Question> {
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

const ANSWERS = { approve: { ask: 'Approve', done: 'Approved' }, reject: { ask: 'Reject', done: 'Rejected' }, withdraw: { ask: 'Withdraw', done: 'Withdrawn' } } as const;

async function settle(desk: Desk, asked: (desk: Desk) => Question | Promise<Question>): Promise<ExitCode> {
  const { context: { terminal, values }, key, principal, repository } = desk;
  // Before anything is signed: a signature that nobody gets is worse than none.
  const remote = flagOption(values, 'no-push') || flagOption(values, 'file') ? null : await remoteFor(repository, textOption(values, 'remote'));
  const question = await asked(desk);
  const words = ANSWERS[question.specs[0]?.action ?? 'approve'];
  if (terminal.form === 'table' || terminal.isInteractive) terminal.note(question.text);
  for (const warning of question.warnings) terminal.note(terminal.paint('yellow', warning));
  if (!flagOption(values, 'yes')) {
    if (!terminal.isInteractive) throw new CliError('NotAsked', 'Nobody is there to be asked.', 'Look at what is shown, then say --yes.');
    const answer = await terminal.ask(`${words.ask} this as ${principal}? [y/N] `);
    if (!/^y(es)?$/i.test(answer)) {
      terminal.note('Nothing was signed.');
      return 1;
    }
  }
  const delivered: (Delivered & { readonly document: string })[] = [];
  for (const spec of question.specs) {
    const document = await signedApproval(desk.evidence, principal, spec, key);
    delivered.push({ document: document.metadata.name, ...(await deliver(desk, document, remote)) });
  }
  const [first, ...others] = delivered;
  const model = { ...question.model, action: question.specs[0]?.action, principal, fingerprint: key.fingerprint, ...first, ...(others.length === 0 ? {} : { others }) };
  await terminal.result(model, () => delivered.map((one) => `${terminal.paint('green', words.done)} by ${principal}: ${whereText(one)}`).join('\n'));
  return 0;
}

type Delivered = { readonly path: string } & Partial<Published>;

async function deliver({ context, clone, repository, principal }: Desk, document: DocumentOf<'Approval'>, remote: string | null): Promise<Delivered> {
  const { stringify } = await import('yaml');
  const text = stringify(document, { lineWidth: 0, aliasDuplicateObjects: false });
  const path = approvalPath(document);
  if (flagOption(context.values, 'file')) {
    await clone.writeText(`${repository.folder}/${path}`, text);
    return { path };
  }
  const published = await context.terminal.during('Pushing', publishApproval(repository, { document, text, principal, remote }));
  return { path, ...published };
}

function whereText(delivered: Delivered): string {
  if (delivered.branch === undefined) return `${delivered.path} is written; commit and push it`;
  return delivered.remote === null || delivered.remote === undefined ? `on the local branch ${delivered.branch}; push it` : `pushed to ${delivered.remote} ${delivered.branch}`;
}
