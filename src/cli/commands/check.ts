import type { CommitId } from '../../core/model/commit-id.ts';
import { checkRange } from '../check-range.ts';
import { EVIDENCE_OPTIONS, LAYOUT_OPTION, type CloneParts, type Repository } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { exitCodeOf, findingText } from '../../core/proposal/finding.ts';
import { installHook } from '../push-hook.ts';
import { requireEvidence } from '../require-evidence.ts';

export const command: Command<CloneParts> = {
  name: 'check',
  summary: 'Tell before the merge what would be refused',
  usage: ['stella check [<ref> | <from>..<ref>] [--to BRANCH]', 'stella check --install-hook'],
  help: `
Plays what a server would do if the branch were merged now, with the rules in force, from this clone and its evidence
branch: signatures and headers of commits, keys that are unknown or expired, requests that nobody answers for,
protected changes without their quorum, documents with faults, approvals by those who asked, conflicts with the target
branch. Each finding has a code, where it is, and what to do. Nothing is written.

refused: it would not count, or not come into force. waits: others have to act, such as approvers. With --to the
target branch itself, what waits counts as refused, because nobody is asked any more.

--install-hook writes a pre-push hook into this clone, which checks each branch that is pushed.

Example:
  stella check
  stella check origin/main..my-branch -o json
  stella check --install-hook

Exit codes: 0 nothing would be refused, 1 something would, 2 it could not be checked.`,
  options: {
    to: { type: 'string', value: 'BRANCH', description: 'Where it is pushed to' },
    'install-hook': { type: 'boolean', description: 'Write the pre-push hook' },
    ...EVIDENCE_OPTIONS, ...LAYOUT_OPTION, ...OUTPUT_OPTION,
  },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const { positionals, values, terminal } = context;
  const isHook = flagOption(values, 'install-hook');
  if (positionals.length > (isHook ? 0 : 1)) throw usageError('Name one branch, commit or range: main..my-branch.', command);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    if (isHook) {
      const file = await installHook(clone, repository);
      await terminal.result({ file }, () => `${file} checks what is pushed from here`);
      return 0;
    }
    const evidence = await requireEvidence(context, clone, repository);
    const checked = await checkRange({ context, clone, repository, evidence }, await rangeIn(repository, positionals[0] ?? 'HEAD'));
    const exitCode = exitCodeOf(checked.findings, isTarget(textOption(values, 'to'), evidence.state.tip?.ref ?? null));
    await terminal.result({ ok: exitCode === 0, ...checked }, () => {
      const refused = checked.findings.filter(({ severity }) => severity === 'refused').length;
      const verdict = refused > 0 ? terminal.paint('red', `${refused} would be refused`) : exitCode === 0 ? terminal.paint('green', 'nothing would be refused') : terminal.paint('red', 'others have to act first');
      return [...checked.findings.map(findingText), `${checked.commits} ${checked.commits === 1 ? 'commit' : 'commits'}: ${verdict}`].join('\n');
    });
    return exitCode;
  } finally {
    await repository.close();
  }
}

function isTarget(to: string | undefined, target: string | null): boolean {
  return to !== undefined && target !== null && (to === target || `refs/heads/${to}` === target);
}

/** `A..B`, or what the target branch does not hold of one commit. @throws CliError `RefUnknown` */
async function rangeIn(repository: Repository, text: string): Promise<{ readonly from: CommitId | null; readonly ref: string }> {
  const [from = '', ref, more] = text.split('..');
  if (ref === undefined) return { from: null, ref: text };
  if (more !== undefined || from === '' || ref.startsWith('.')) throw usageError('A range is written from..to.', command);
  const commit = await repository.git.tryRun(['rev-parse', '--verify', '--quiet', '--end-of-options', `${from}^{commit}`]);
  if (commit === null) throw new CliError('RefUnknown', `${from} names no commit here.`, 'Name a branch, tag or commit.');
  return { from: commit as CommitId, ref: ref === '' ? 'HEAD' : ref };
}
