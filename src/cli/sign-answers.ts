import type { DocumentOf } from '../core/model/documents.ts';
import { approvalPath, signedApproval } from './approval-document.ts';
import type { ApproveDesk, Question } from './approve-questions.ts';
import { CliError, flagOption, textOption } from './command.ts';
import { publishApproval, remoteFor, type Published } from './publish-approval.ts';

const ANSWERS = { approve: { ask: 'Approve', done: 'Approved' }, reject: { ask: 'Reject', done: 'Rejected' }, withdraw: { ask: 'Withdraw', done: 'Withdrawn' } } as const;

/** Where answers go, settled before anything is signed: a signature that nobody gets is worse than none. @throws CliError `RemoteUnknown` */
export async function destinationOf({ context: { values }, repository }: Pick<ApproveDesk, 'context' | 'repository'>): Promise<string | null> {
  return flagOption(values, 'no-push') || flagOption(values, 'file') ? null : remoteFor(repository, textOption(values, 'remote'));
}

/** What was signed: for JSON, and in words. */
export type Answered = { readonly model: object; readonly text: string };

/**
 * Shows one question, asks, signs what was shown and nothing else, and brings it where it goes.
 * @param remote what `destinationOf` settled
 * @returns null for a no
 * @throws CliError `NotAsked` where nobody can be asked and --yes was not said
 */
export async function settleQuestion(desk: ApproveDesk, question: Question, remote: string | null): Promise<Answered | null> {
  const { context: { terminal, values }, key, principal } = desk;
  const words = ANSWERS[question.specs[0]?.action ?? 'approve'];
  if (terminal.form === 'table' || terminal.isInteractive) terminal.note(question.text);
  for (const warning of question.warnings) terminal.note(terminal.paint('yellow', warning));
  if (!flagOption(values, 'yes')) {
    if (!terminal.isInteractive) throw new CliError('NotAsked', 'Nobody is there to be asked.', 'Look at what is shown, then say --yes.');
    const answer = await terminal.ask(`${words.ask} this as ${principal}? [y/N] `);
    if (!/^y(es)?$/i.test(answer)) {
      terminal.note('Nothing was signed.');
      return null;
    }
  }
  const delivered: (Delivered & { readonly document: string })[] = [];
  for (const spec of question.specs) {
    const document = await signedApproval(desk.evidence, principal, spec, key);
    delivered.push({ document: document.metadata.name, ...(await deliver(desk, document, remote)) });
  }
  const missing = question.specs[0]?.action !== 'approve' || flagOption(values, 'file') ? null : ((await question.missing?.()) ?? null);
  const [first, ...others] = delivered;
  const model = { ...question.model, action: question.specs[0]?.action, principal, fingerprint: key.fingerprint, ...first, ...(others.length === 0 ? {} : { others }), ...(missing === null ? {} : { missing }) };
  const after = missing === null ? [] : missing.length === 0 ? ['Nothing is missing, as far as this clone can tell: the server goes on once it is merged and this is collected.'] : ['Still missing:', ...missing.map((line) => `  ${line}`)];
  return { model, text: [...delivered.map((one) => `${terminal.paint('green', words.done)} by ${principal}: ${whereText(one)}`), ...after].join('\n') };
}

type Delivered = { readonly path: string } & Partial<Published>;

async function deliver({ context, clone, repository, principal }: ApproveDesk, document: DocumentOf<'Approval'>, remote: string | null): Promise<Delivered> {
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
