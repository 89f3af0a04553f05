import { plain } from '../model/plain-text.ts';
import { derivedFrom } from './explain-automatic.ts';
import { adviseOn, placeOf, type Advice } from './explain-gates.ts';
import type { Decision, DecisionInput, GateName, GateResult, ReasonCode, RejectCode, RejectedApproval } from './types.ts';

/** How something stands: what runs and why, what became of a promotion, or a protected document. */
export type SituationCode =
  | 'NeverDeployed' | 'Removed' | 'Deployed' | 'Redeployed' | 'RolledBack' | 'BrokenGlass' | 'NotClean' | 'Deploying' | 'Stopping' | 'RunFailed' | 'FellBack' | 'RunAborted' | 'ExtensionFailed'
  | 'Allowed' | 'Waiting' | 'Refused' | 'Skipped' | 'Superseded' | 'Withdrawn' | 'Replaced' | 'Ended' | 'NotDecided' | 'InForce' | 'ChangePending' | 'ChangeRefused' | 'NotInForce';

/** One thing to tell a reader about a decision, or about how something stands. CLI, comment, API and notifications show the same lines. */
export type ExplainLine = {
  readonly about: 'situation' | 'decision' | 'gate' | 'rejected-approval' | 'next';
  readonly gate: GateName | null;
  /** Which of several; for a rejected approval its principal. */
  readonly subject: string;
  readonly outcome: Decision['outcome'] | GateResult['outcome'] | null;
  readonly code: ReasonCode | RejectCode | SituationCode | null;
  /** One plain sentence. */
  readonly text: string;
  /** What somebody can do about it; null when nothing needs doing or nothing helps. */
  readonly remedy: string | null;
  /** The command that does it. */
  readonly command: string | null;
  /** Who can do it. */
  readonly who: readonly string[];
  /** When it could pass without anybody doing anything. */
  readonly opensAt: string | null;
};

/** Every gate with its reason, who could still act and how, each approval that does not count, and when to look again. */
export function explainDecision(decision: Decision, input: DecisionInput): readonly ExplainLine[] {
  return [
    lineOf({ about: 'decision', outcome: decision.outcome, subject: placeOf(input) }, headline(decision, input)),
    ...decision.gates.map((gate) =>
      lineOf({ about: 'gate', gate: gate.gate, subject: gate.subject, outcome: gate.outcome, code: gate.code, opensAt: gate.opensAt }, adviseOn(gate, input)),
    ),
    ...input.rejected.map((rejected) => lineOf({ about: 'rejected-approval', subject: rejected.principal, code: rejected.code }, whyRejected(rejected, input))),
    ...nextLines(decision),
  ];
}

/** The lines as text, two columns of indentation, no colours. */
export function renderExplanation(lines: readonly ExplainLine[]): string {
  return lines.map(renderLine).join('\n');
}

function renderLine(line: ExplainLine): string {
  const rows = [titleOf(line)];
  if (line.remedy !== null) rows.push(`    ${line.remedy}`);
  if (line.who.length > 0) rows.push(`    who could: ${line.who.join(', ')}`);
  if (line.command !== null) rows.push(`    command:   ${line.command}`);
  if (line.opensAt !== null) rows.push(`    passes at: ${line.opensAt}`);
  return rows.map(plain).join('\n');
}

function titleOf(line: ExplainLine): string {
  if (line.about === 'gate') return `  [${line.outcome ?? ''}] ${line.gate ?? ''}${line.subject === '' ? '' : ` ${line.subject}`}: ${line.text}`;
  return line.about === 'decision' || line.about === 'situation' ? line.text : `  ${line.text}`;
}

/** A line whose text no document can make two of. */
export function lineOf(line: Partial<ExplainLine> & Pick<ExplainLine, 'about'>, advice: Advice): ExplainLine {
  return {
    gate: null, subject: '', outcome: null, code: null, opensAt: null, ...line,
    text: plain(advice.text), remedy: advice.remedy === undefined ? null : plain(advice.remedy), command: advice.command ?? null, who: advice.who ?? [],
  };
}

function headline(decision: Decision, input: DecisionInput): Advice {
  const what = input.operation === 'remove' ? 'removal' : `${input.release ?? 'promotion'}${input.operation === 'extend' ? ' on targets that came later' : ''}`;
  const origin = input.derived === null ? '' : ` (${derivedFrom(input.derived)})`;
  const blocked = decision.gates.filter(({ outcome }) => outcome !== 'passed').length;
  const why = blocked === 1 ? 'one gate holds it' : `${blocked} gates hold it`;
  const verdict = {
    allow: `allowed until ${decision.notAfter ?? ''}`,
    pending: `waiting, ${why}`,
    refuse: `refused, ${why}`,
  } as const;
  return { text: `${placeOf(input)} ${what}${origin}: ${verdict[decision.outcome]} (judged as of ${input.asOf})` };
}

function nextLines(decision: Decision): readonly ExplainLine[] {
  if (decision.nextChangeAt === null) return [];
  return [lineOf({ about: 'next' }, { text: `Unless somebody acts, nothing changes before ${decision.nextChangeAt}.` })];
}

function whyRejected(rejected: RejectedApproval, input: DecisionInput): Advice {
  const who = rejected.principal;
  const again = { command: `stella approve ${placeOf(input)}`, who: [who] };
  switch (rejected.code) {
    case 'OtherDigest':
      return { text: `The approval by ${who} is for something else: what would run, where, or the rules changed after it was signed.`, remedy: 'Look at what changed and approve again.', ...again };
    case 'Expired':
      return { text: `The approval by ${who} has expired.`, remedy: 'Approve again.', ...again };
    case 'KeyNotActive':
      return { text: `The approval by ${who} was signed with a key that was not active when it was first seen.`, remedy: 'Approve again with an active key.', ...again };
    case 'KeyNotYetValid':
      return { text: `The approval by ${who} was signed with a key that was not valid yet when it was first seen.`, remedy: 'Approve again once the key is valid.', ...again };
    case 'KeyExpired':
      return { text: `The approval by ${who} was signed with a key that had expired when it was first seen.`, remedy: 'Approve again with a key that is valid.', ...again };
    case 'KeyCompromised':
      return { text: `The approval by ${who} is void: its key is marked as compromised.`, remedy: 'Approve again with another key.', ...again };
    case 'PrincipalSuspended':
      return { text: `The approval by ${who} is void: ${who} is suspended.`, remedy: 'Somebody else must approve it.' };
    case 'NotAPerson':
      return { text: `The approval by ${who} does not count: only people approve.` };
    case 'RoleMissing':
      return { text: `The approval by ${who} does not count: ${who} holds none of the roles that are asked for here.` };
    case 'Requester':
      return { text: `The approval by ${who} does not count: ${who} asked for this change.`, remedy: 'Somebody else must approve it.' };
    case 'Duplicate':
      return { text: `The approval by ${who} is there more than once; it counts once.` };
    case 'Withdrawn':
      return { text: `The approval by ${who} does not count: ${who} withdrew it.`, remedy: 'If they changed their mind, they approve again.', ...again };
    case 'Consumed':
      return { text: `The approval by ${who} was used by an earlier run.`, remedy: 'Approve again.', ...again };
  }
}
