import type { GateResult } from '../decision/types.ts';
import type { Operation } from '../model/preimages.ts';
import { plain } from '../model/plain-text.ts';

/** What a forge shows of a commit status: characters. */
const HEADLINE_CHARS = 140;

/** One line without what moves a cursor, cut where it would be too long. */
export function shortLine(text: string): string {
  const chars = [...plain(text)];
  return chars.length <= HEADLINE_CHARS ? chars.join('') : `${chars.slice(0, HEADLINE_CHARS - 1).join('')}…`;
}

/** `1.4.1`, or `the removal`. */
export function whatOf({ release, operation }: { readonly release: string | null; readonly operation: Operation }): string {
  return operation === 'remove' ? 'the removal' : (release ?? 'the promotion');
}

/** `alice, bob` */
export function listOf(names: readonly string[]): string {
  return names.join(', ');
}

/** What a promotion waits for, in a few words: the first gate that somebody can do something about. @param held gates that did not pass */
export function waitsFor(held: readonly GateResult[]): string {
  const first = [...held].sort((a, b) => rankOf(a) - rankOf(b))[0];
  if (first === undefined) return 'the next decision';
  const more = held.length > 1 ? `, and ${held.length - 1} more` : '';
  return wordsFor(first) + more;
}

/** What people can do comes before what only time or another run brings. */
function rankOf({ outcome, code }: GateResult): number {
  if (outcome === 'refused') return 0;
  return code === 'ApprovalsMissing' || code === 'RequesterUnknown' ? 1 : 2;
}

function wordsFor(gate: GateResult): string {
  const { subject } = gate;
  switch (gate.code) {
    case 'ApprovalsMissing': {
      const roles = words(gate, 'missingRoles');
      return `${roles.length === 0 ? 'approval' : roles.join(' or ')} (${count(gate, 'have')} of ${count(gate, 'need')} approved)`;
    }
    case 'ApprovalsRejected':
      return `a change: rejected by ${listOf(words(gate, 'rejectedBy')) || 'somebody'}`;
    case 'RequesterUnknown':
      return 'somebody who adopts the request';
    case 'Frozen':
      return `freeze ${subject} to end`;
    case 'ReleaseSuspended':
      return `freeze ${subject}, which suspends the release, to end`;
    case 'AgentSuspended':
      return `${subject}, which is suspended`;
    case 'SourceNotDeployed':
    case 'SourceMissing':
      return `${subject} to run it first`;
    case 'Soaking':
      return `${subject} to have run it long enough`;
    case 'RunOpen':
      return 'the run that is open to end';
    case 'ReviewMissing':
      return 'a review of broken glass';
    case 'Closed':
      return 'another attempt: its run ended without success';
    case 'LockMissing':
      return 'a release whose digests are settled';
    case 'PlanInvalid':
      return 'documents that make a plan';
    case 'NothingToRemove':
      return 'something to remove: nothing of it runs';
    case 'BreakGlassNotAllowed':
    case 'BreakGlassExpired':
      return 'another request: the glass may not be broken like this';
    case 'OutsideWindow':
      return `gate ${subject} to open${gate.opensAt === null ? '' : ` at ${gate.opensAt}`}`;
    case 'DependencyMissing':
      return `${listOf(words(gate, 'missing'))} to run first`;
    case 'TooManyRuns':
      return `one of ${count(gate, 'most')} runs to end (gate ${subject})`;
    case 'Held':
      return subject === '' ? 'its hold to be taken away' : `hold ${subject} to be lifted`;
    case 'ExpressionFalse':
    case 'ExpressionFailed':
      return `the condition of gate ${subject}`;
    case 'GateMissing':
      return `gate ${subject}, which is not in force`;
    default:
      return `gate ${gate.gate}${subject === '' ? '' : ` ${subject}`}`;
  }
}

function words(gate: GateResult, member: string): readonly string[] {
  const value = gate.detail[member];
  return Array.isArray(value) ? (value as readonly string[]) : [];
}

function count(gate: GateResult, member: string): number {
  const value = gate.detail[member];
  return typeof value === 'number' ? value : 0;
}
