import { parseInstant } from '../../core/model/instant.ts';
import { canonicalText } from '../../core/model/canonical-json.ts';
import type { AnyDocument, ApprovalSpec, DocumentOf } from '../../core/model/documents.ts';
import { approvalPath, signedApproval, signerOf } from '../approval-document.ts';
import { promotionSpec, promotionText, promotionView } from '../approve-promotion.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, LAYOUT_OPTION, REF_OPTION, commitText, seenCommit, type CloneParts, type Evidence, type LoadedDeclarations, type PersonalKey, type Repository } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, textOptions, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { bareChanges, pendingIn, sidesOf, type Pending } from '../pending.ts';
import { checkTags, planSubject } from '../plan-subject.ts';
import { publishApproval, type Published } from '../publish-approval.ts';
import { requireEvidence } from '../require-evidence.ts';
import { plain } from '../terminal.ts';
import { textDifference } from '../text-difference.ts';

export const command: Command<CloneParts> = {
  name: 'approve',
  summary: 'Approve or reject a promotion or a protected change',
  usage: ['stella approve <environment>/<application> [--ref REF]', 'stella approve --pending [--only Kind/name]', 'stella approve --change sha256:…'],
  help: `
Shows exactly what would be approved: components with old and new digests, files and variables that differ, targets,
workflow, rules, and who has approved. Then asks, and signs an Approval with your SSH key. The signature covers a
digest of all of that, so any later change makes the approval void, while squash, rebase and mirrors do not.

The tags are resolved from this machine as well, and the approval says whether the digests were the same. It goes to
a branch of its own on origin, so you need no push rights on the requester's branch; the server collects it.

With --pending or --change you approve changes of protected documents, such as principals, environments and targets:
what is in force is shown against what the commit says.

Example:
  stella approve prod/shop
  stella approve prod/shop --ref feature-branch --comment "seen in staging"
  stella approve prod/shop --reject --comment "not before Monday"
  stella approve --pending --only Environment/prod

Exit codes: 0 signed, 1 there is nothing to approve or you said no, 2 error.`,
  options: {
    pending: { type: 'boolean', description: 'All protected changes of the commit that are not in force' },
    change: { type: 'string', value: 'sha256:…', description: 'The protected change with this digest' },
    only: { type: 'string', multiple: true, value: 'KIND/NAME', description: 'Of the protected changes only this one; may be given again' },
    reject: { type: 'boolean', description: 'Say no instead of yes' },
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
  readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence; readonly loaded: LoadedDeclarations;
  readonly key: PersonalKey; readonly principal: string;
};
/** What is put before the person: its text, its model, and the document that a yes or no becomes. */
type Question = { readonly text: string; readonly model: object; readonly spec: ApprovalSpec; readonly warnings: readonly string[] };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const isChange = flagOption(context.values, 'pending') || textOption(context.values, 'change') !== undefined;
  const [name, ...rest] = context.positionals;
  if (rest.length > 0 || (name === undefined) !== isChange) throw usageError('Name one promotion, such as prod/shop, or --pending, or --change.', command);
  demandExpiry(textOption(context.values, 'expires'), context.now());
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const evidence = await requireEvidence(context, clone, repository);
    const loaded = await clone.loadCandidate(repository, evidence, textOption(context.values, 'ref') ?? 'HEAD');
    const key = await clone.personalKey(context, repository);
    const principal = signerOf(evidence, key, context.now()).metadata.name;
    const desk: Desk = { context, clone, repository, evidence, loaded, key, principal };
    const question = name === undefined ? changeQuestion(desk) : await promotionQuestion(desk, name);
    return await settle(desk, question);
  } finally {
    await repository.close();
  }
}

function demandExpiry(expires: string | undefined, now: Date): void {
  if (expires === undefined) return;
  const at = parseInstant(expires);
  if (at === null) throw usageError(`--expires ${expires} is no time in UTC; write it as 2031-05-17T09:30:00Z.`, command);
  if (at <= now.getTime()) throw usageError(`--expires ${expires} is past.`, command);
}

function verdict({ context, clone }: Desk): Pick<ApprovalSpec, 'action' | 'nonce'> & { comment: string | undefined; expires: string | undefined } {
  const { values } = context;
  return { action: flagOption(values, 'reject') ? 'reject' : 'approve', nonce: clone.randomHex(16), comment: textOption(values, 'comment'), expires: textOption(values, 'expires') };
}

async function promotionQuestion(desk: Desk, name: string): Promise<Question> {
  const { context, clone, repository, evidence, loaded } = desk;
  const [environment = '', application] = name.split('/');
  if (application === undefined || application === '') throw usageError('Name environment and application, such as prod/shop.', command);
  const world = clone.worldOf(repository, evidence, loaded);
  const registry = clone.registryOf(context, repository);
  const one = await context.terminal.during('Planning', planSubject(world, { environment, application }, registry, context.now().toISOString()));
  if (one.satisfied) throw new CliError('NothingToApprove', `${name} runs already what this commit declares.`, null, { exitCode: 1 });
  const tags = await context.terminal.during('Resolving tags', checkTags(world, one, registry));
  const view = promotionView(world, one, tags);
  const warnings: string[] = [];
  if (view.requesters.includes(desk.principal)) warnings.push(`note: ${desk.principal} asked for this, so this approval counts only where a rule lets authors approve`);
  if (view.rules.length === 0) warnings.push(`note: no rule asks for approvals in ${environment}`);
  return { text: `${promotionText(view)}\n  commit      ${commitText(loaded)}`, model: { ...view, seenAt: seenCommit(loaded), onto: loaded.tip }, spec: promotionSpec(view, verdict(desk)), warnings };
}

function changeQuestion(desk: Desk): Question {
  const { context, evidence, loaded } = desk;
  const pending = pendingIn(evidence.state, loaded.desired, textOptions(context.values, 'only'));
  const wanted = textOption(context.values, 'change');
  if (pending.digest === null) throw new CliError('NothingToApprove', 'No protected document of this commit differs from what is in force.', null, { exitCode: 1 });
  if (wanted !== undefined && wanted !== pending.digest) {
    throw new CliError('OtherDigest', `The pending changes of this commit have the digest ${pending.digest}, not ${wanted}.`, 'Fetch and look again: something changed, or another commit was meant (--ref, --only).', { exitCode: 1 });
  }
  const { comment, expires, ...given } = verdict(desk);
  const spec: ApprovalSpec = {
    type: 'change', digest: pending.digest, changes: bareChanges(pending), ...(comment === undefined ? {} : { comment }), ...(expires === undefined ? {} : { expires }), ...given,
  };
  const warnings = pending.root ? ['note: the trust root differs as well; changes of the root are not supported yet and are left out'] : [];
  return { text: changeText(desk, pending), model: { type: 'change', digest: pending.digest, changes: pending.changes, seenAt: seenCommit(loaded), onto: loaded.tip }, spec, warnings };
}

function changeText({ evidence, loaded }: Desk, pending: Pending): string {
  const lines = [`Protected changes at commit ${commitText(loaded)}`, `digest ${pending.digest ?? ''}`];
  for (const change of pending.changes) {
    const { before, after } = sidesOf(evidence.state, loaded.desired, change);
    const what = change.from === null ? 'is new' : change.to === null ? 'is deleted' : 'changes';
    lines.push('', `${change.kind}/${change.name} ${what}; needs ${change.quorum}. In force → new:`);
    lines.push(...textDifference(specText(before), specText(after)).map((line) => `  ${line}`));
  }
  return lines.map(plain).join('\n');
}

/** Sorted members, so that only what differs in meaning differs in the text. */
function specText(document: AnyDocument | null): string {
  return document === null ? '' : JSON.stringify(JSON.parse(canonicalText(document.spec)), null, 2);
}

async function settle(desk: Desk, question: Question): Promise<ExitCode> {
  const { context, key, principal } = desk;
  const { terminal } = context;
  const isYes = question.spec.action === 'approve';
  if (terminal.form === 'table' || terminal.isInteractive) terminal.note(question.text);
  for (const warning of question.warnings) terminal.note(terminal.paint('yellow', warning));
  if (!flagOption(context.values, 'yes')) {
    if (!terminal.isInteractive) throw new CliError('NotAsked', 'Nobody is there to be asked.', 'Look at what is shown, then say --yes.');
    const answer = await terminal.ask(`${isYes ? 'Approve' : 'Reject'} this as ${principal}? [y/N] `);
    if (!/^y(es)?$/i.test(answer)) {
      terminal.note('Nothing was signed.');
      return 1;
    }
  }
  const document = await signedApproval(principal, question.spec, key);
  const published = await deliver(desk, document);
  const model = { ...question.model, action: question.spec.action, principal, document: document.metadata.name, fingerprint: key.fingerprint, ...published };
  await terminal.result(model, () => `${terminal.paint('green', isYes ? 'Approved' : 'Rejected')} by ${principal}: ${whereText(published)}`);
  return 0;
}

type Delivered = { readonly path: string } & Partial<Published>;

async function deliver({ context, clone, repository, principal }: Desk, document: DocumentOf<'Approval'>): Promise<Delivered> {
  const { stringify } = await import('yaml');
  const text = stringify(document, { lineWidth: 0, aliasDuplicateObjects: false });
  const path = approvalPath(document);
  if (flagOption(context.values, 'file')) {
    await clone.writeText(`${repository.folder}/${path}`, text);
    return { path };
  }
  const remote = flagOption(context.values, 'no-push') ? null : (textOption(context.values, 'remote') ?? 'origin');
  const published = await context.terminal.during('Pushing', publishApproval(repository, { document, text, principal, remote }));
  return { path, ...published };
}

function whereText(delivered: Delivered): string {
  if (delivered.branch === undefined) return `${delivered.path} is written; commit and push it`;
  return delivered.remote === null || delivered.remote === undefined ? `on the local branch ${delivered.branch}; push it` : `pushed to ${delivered.remote} ${delivered.branch}`;
}
