import { parseInstant } from '../../core/model/instant.ts';
import { candidateQuestions, questionForDigest } from '../approve-candidate.ts';
import { approverOf, askReview, askRewrite, changeQuestion, promotionQuestion, withdrawQuestion, type ApproveDesk, type Question } from '../approve-questions.ts';
import { branchNamed, isPlace, namedBy, proposalNumbered, type ApproveCandidate, type Named } from '../approve-target.ts';
import { signerOf } from '../approval-document.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, LAYOUT_OPTION, REF_OPTION, type CloneParts } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, textOptions, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { DecidedPlans } from '../earlier-approval.ts';
import { requireEvidence } from '../require-evidence.ts';
import { destinationOf, settleQuestion, type Answered } from '../sign-answers.ts';
import { remoteFor } from '../publish-approval.ts';
import { plain } from '../../core/model/plain-text.ts';

export const command: Command<CloneParts> = {
  name: 'approve',
  summary: 'Approve or reject a promotion or a protected change',
  usage: [
    'stella approve <environment>/<application> [--ref REF] [--reject | --refresh]', 'stella approve <number of a pull request>', 'stella approve <branch>', 'stella approve <digest>', 'stella approve --pending [--only Kind/name]', 'stella approve --change sha256:…',
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

With the number of a pull request (where the clone names a forge, see \`stella promote --help\`) or a branch, it takes
everything there that waits for you, promotions and protected changes, and asks for each. With a digest, or its first
twelve digits, it takes what has that digest: on the target branch, on a branch promote/…, or in a pull request. After
each answer it says what is still missing.

With --pending or --change you approve changes of protected documents, such as principals, environments and targets:
what is in force is shown against what the commit says. The trust root changes alone: --only TrustRoot.

--rewrite accepts that the target branch goes on from a commit that does not descend from the last recorded one: name
both, or the digest that the server names. --review answers for broken glass afterwards, by somebody who took no part.

--withdraw takes back what you approved before; a no stays. --refresh shows only what is other than when you last
approved here, and approves that.

Example:
  stella approve prod/shop
  stella approve 12
  stella approve promote/prod/shop-1.5.0
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

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const isChange = flagOption(context.values, 'pending') || textOption(context.values, 'change') !== undefined;
  const [name, ...rest] = context.positionals;
  const isRewrite = textOption(context.values, 'rewrite') !== undefined;
  if (rest.length > 0 || (name === undefined) !== (isChange || isRewrite)) throw usageError('Name one promotion, pull request, branch or digest, such as prod/shop or 12; or --pending, --change, or --rewrite.', command);
  const isAfterwards = isRewrite || flagOption(context.values, 'review');
  if (isAfterwards && (isChange || flagOption(context.values, 'withdraw') || flagOption(context.values, 'refresh'))) throw usageError('--rewrite and --review stand alone, but for --reject.', command);
  if (['reject', 'withdraw', 'refresh'].filter((option) => flagOption(context.values, option)).length > 1) throw usageError('--reject, --withdraw and --refresh are three answers; give one.', command);
  demandExpiry(context);
  demandExcept(context);
  const named = name === undefined ? null : namedBy(name);
  demandPlain(context, named);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const plans = new DecidedPlans();
    if (named !== null && named.type !== 'pair') await fetchNewest(context, repository);
    const evidence = await requireEvidence(context, clone, repository, plans.visit);
    const key = await clone.personalKey(context, repository);
    const desk = { context, clone, repository, evidence, plans, key };
    if (named !== null && (named.type !== 'pair' || (await isBranch(desk, named.text)))) return await settleNamed({ ...desk, principal: signerOf(evidence, key, context.now()).metadata.name }, named);
    if (flagOption(context.values, 'withdraw')) return await settle({ ...desk, principal: signerOf(evidence, key, context.now()).metadata.name }, withdrawQuestion);
    if (isAfterwards) return await settle({ ...desk, principal: signerOf(evidence, key, context.now()).metadata.name }, isRewrite ? askRewrite : askReview);
    const loaded = await clone.loadCandidate(repository, evidence, textOption(context.values, 'ref') ?? 'HEAD');
    const principal = approverOf(desk, loaded);
    return await settle({ ...desk, principal }, (whole) => (name === undefined ? changeQuestion(whole, loaded) : promotionQuestion(whole, loaded, name)));
  } finally {
    await repository.close();
  }
}

/** `<a>/<b>` is a branch where no environment has that name, and a branch has; what is said of a place is about the place. */
async function isBranch({ context: { values }, evidence, repository }: Omit<ApproveDesk, 'principal'>, text: string): Promise<boolean> {
  return !isPlace(evidence.state, text) && strayFor(values) === undefined && (await branchNamed(repository, text)) !== null;
}

function strayFor(values: CommandContext['values']): string | undefined {
  return ['ref', 'only', 'withdraw', 'refresh', 'review'].find((option) => values[option] !== undefined && values[option] !== false);
}

/** What is named by number, branch or digest says itself which commit is meant. */
function demandPlain({ values }: CommandContext, named: Named | null): void {
  if (named === null || named.type === 'pair') return;
  const stray = strayFor(values);
  if (stray !== undefined) throw usageError(`--${stray} goes with <environment>/<application>, and not with the number of a pull request, a branch or a digest.`, command);
}

/** Somebody who names a pull request, a branch or a digest saw it elsewhere, so what is here may be older. */
async function fetchNewest(context: CommandContext, repository: ApproveDesk['repository']): Promise<void> {
  const remote = await remoteFor(repository, textOption(context.values, 'remote'));
  if (remote === null) return;
  const fetched = await context.terminal.during(`Fetching from ${remote}`, repository.git.tryRun(['fetch', '--quiet', remote]));
  if (fetched === null) context.terminal.note(`note: ${remote} could not be asked for what is newest; going on with what is here`);
}

async function settle(desk: ApproveDesk, asked: (desk: ApproveDesk) => Question | Promise<Question>): Promise<ExitCode> {
  const remote = await destinationOf(desk);
  const answered = await settleQuestion(desk, await asked(desk), remote);
  if (answered !== null) await desk.context.terminal.result(answered.model, () => answered.text);
  return answered === null ? 1 : 0;
}

/** Everything behind a number, a branch or a digest that waits for this person, one question after the other. */
async function settleNamed(desk: ApproveDesk, named: Named): Promise<ExitCode> {
  const { context: { terminal }, evidence } = desk;
  const remote = await destinationOf(desk);
  const { candidate, questions, notes } = await questionsFor(desk, named);
  terminal.note(plain(`${candidate.title}, at ${candidate.commit.slice(0, 12)}`));
  for (const note of notes) terminal.note(plain(`note: ${note}`));
  if (questions.length === 0) throw new CliError('NothingToApprove', `Nothing there waits for ${desk.principal}.`, notes.length > 0 ? null : `It changes no promotion and no protected document of ${evidence.state.tip?.ref ?? 'the target branch'}.`, { exitCode: 1 });
  const answers: Answered[] = [];
  for (const question of questions) {
    const answered = await settleQuestion(desk, await question(), remote);
    if (answered !== null) answers.push(answered);
    if (answered !== null && terminal.form === 'table') terminal.line(answered.text);
  }
  const number = candidate.proposal?.number ?? null;
  if (terminal.form !== 'table') await terminal.result({ title: candidate.title, commit: candidate.commit, number, answers: answers.map(({ model }) => model), notes }, () => '');
  return answers.length === 0 ? 1 : 0;
}

type Questions = { readonly candidate: ApproveCandidate; readonly questions: readonly (() => Promise<Question>)[]; readonly notes: readonly string[] };

async function questionsFor(desk: ApproveDesk, named: Named): Promise<Questions> {
  if (named.type === 'digest') {
    const { candidate, question } = await questionForDigest(desk, named.digits);
    return { candidate, questions: [question], notes: [] };
  }
  const candidate = named.type === 'number' ? await proposalNumbered(desk, named.number, desk.evidence.state) : await branchNamed(desk.repository, named.text);
  if (candidate === null) throw new CliError('TargetUnknown', `${named.type === 'number' ? '' : named.text} names no environment in force, no branch here or on origin, and no digest.`, 'Name a promotion (prod/shop), the number of a pull request, a branch, or at least twelve digits of a digest.');
  return { candidate, ...(await candidateQuestions(desk, candidate)) };
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
