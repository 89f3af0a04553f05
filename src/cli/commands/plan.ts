import type { CommitId } from '../../core/model/commit-id.ts';
import { formatInstant, parseInstant } from '../../core/model/instant.ts';
import type { ProposalPlan } from '../../core/proposal/plan-model.ts';
import { renderMarkdown } from '../../core/proposal/render-markdown.ts';
import { renderText } from '../../core/proposal/render-text.ts';
import { planProposal } from '../../reconciler/plan-proposal.ts';
import { EVIDENCE_OPTIONS, LAYOUT_OPTION, type CloneParts, type Evidence, type Repository } from '../clone.ts';
import { CliError, OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { proposalWorld } from '../proposal-world.ts';
import { approvalsOnBranches } from '../rehearsal.ts';
import { requireEvidence } from '../require-evidence.ts';

const EXIT_CODES: Readonly<Record<ProposalPlan['outcome'], ExitCode>> = { nothing: 0, changes: 1, error: 2 };

export const command: Command<CloneParts> = {
  name: 'plan',
  summary: 'Show what a branch would change if it were merged now',
  usage: ['stella plan [<ref> | <from>..<to>] [--as-of TIME]'],
  help: `
Lays the branch over the target branch and says what the merge would do, offline, from this clone and its evidence
branch: for each environment and application the release, components, files, settings, targets and steps, every gate
with its result, who can still approve and with which command, and when time alone would let it pass; protected
changes with the quorum that they need; faults with file and line. A server says the same on a pull request.

A range <from>..<to> lays <to> over <from> instead. With --as-of it is judged as of a later moment: what windows,
soak times and freezes let pass then. Nothing is written, and at the merge everything is decided again.

Example:
  stella plan my-branch
  stella plan my-branch --as-of 2026-12-01T09:00:00Z
  stella plan my-branch -o markdown

Exit codes: 0 nothing would change, 1 something would, 2 it cannot be planned.`,
  options: {
    'as-of': { type: 'string', value: 'TIME', description: 'Judge as of this moment: 2026-12-01T09:00:00Z' },
    ...EVIDENCE_OPTIONS, ...LAYOUT_OPTION,
    output: { ...OUTPUT_OPTION.output, value: 'text|markdown|json|yaml', description: 'How to print the plan (default: text)', forms: ['table', 'text', 'markdown', 'json', 'yaml'] },
  },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const { positionals, values, terminal } = context;
  if (positionals.length > 1) throw usageError('Name one branch, commit or range: main..my-branch.', command);
  const { from, to } = rangeOf(positionals[0] ?? 'HEAD');
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const evidence = await requireEvidence(context, clone, repository);
    const asOf = asOfIn(textOption(values, 'as-of'), context, evidence);
    const [onto, commit] = [from === null ? null : await clone.commitNamed(repository, from), await clone.commitNamed(repository, to)];
    const plan = await terminal.during('Planning', planIn({ context, clone, repository, evidence }, { onto, commit, asOf }));
    // Forges cut long comments; whoever pipes this somewhere else has the same.
    await terminal.result(plan, () => (terminal.form === 'markdown' ? renderMarkdown(plan, { maxChars: 65_536 }) : renderText(plan)));
    return EXIT_CODES[plan.outcome];
  } finally {
    await repository.close();
  }
}

type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence };

async function planIn({ context, clone, repository, evidence }: Desk, { onto, commit, asOf }: { readonly onto: CommitId | null; readonly commit: CommitId; readonly asOf: string }): Promise<ProposalPlan> {
  const world = await proposalWorld(context, clone, repository, evidence, onto);
  return planProposal(world, { commit, asOf, approvals: await approvalsOnBranches(repository) });
}

function rangeOf(text: string): { readonly from: string | null; readonly to: string } {
  const [from = '', to, more] = text.split('..');
  if (to === undefined) return { from: null, to: text };
  if (more !== undefined || from === '' || to.startsWith('.')) throw usageError('A range is written from..to.', command);
  return { from, to: to === '' ? 'HEAD' : to };
}

/** @throws CliError `AsOfInvalid`, `AsOfPast` */
function asOfIn(text: string | undefined, context: CommandContext, { state }: Evidence): string {
  if (text === undefined) return context.now().toISOString();
  const at = parseInstant(text);
  if (at === null) throw new CliError('AsOfInvalid', `${JSON.stringify(text.slice(0, 40))} is no moment in UTC.`, 'Write it as 2026-12-01T09:00:00Z.');
  // The log's time never goes back: what was in force then is not what is in force now.
  if (state.asOf !== null && at < (parseInstant(state.asOf) ?? 0)) throw new CliError('AsOfPast', `The log was written until ${state.asOf}, and it is judged by what is in force now.`, 'Name a later moment. What was decided then: stella replay.');
  return formatInstant(at);
}
