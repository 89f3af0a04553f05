import type { DecisionInput, GateResult, ReasonCode } from './types.ts';

/** What is told of one finding: a sentence, what helps, and who can do it. */
export type Advice = { readonly text: string; readonly remedy?: string; readonly command?: string; readonly who?: readonly string[] };

/** `<environment>/<application>`, as commands name it. */
export function placeOf(input: DecisionInput): string {
  return `${input.environment}/${input.application}`;
}

/** Plain words for one gate's result. Exhaustive: a new reason code does not compile without its words. */
export function adviseOn(gate: GateResult, input: DecisionInput): Advice {
  const place = placeOf(input);
  switch (gate.code) {
    case 'Ok':
      return { text: passedText(gate) };
    case 'NotRequired':
      return { text: notRequiredText(gate) };
    case 'ApprovalsMissing':
      return input.operation === 'extend' ? promotionNeeded(gate, place) : { ...missingApprovals(gate), command: `stella approve ${place}` };
    case 'ApprovalsRejected':
      return { text: `Rejected by ${listed(names(gate, 'rejectedBy'))}.`, remedy: input.derived === null ? 'A rejection stands for this exact change: change the promotion and ask again.' : 'A rejection stands for this exact change: a newer release is asked for by itself.' };
    case 'RequesterUnknown':
      if (input.operation === 'extend') return promotionNeeded(gate, place);
      return { ...unknownRequester(gate), command: input.derived === null ? `stella promote --adopt ${place}` : promoteHere(input) };
    case 'Frozen':
      return { text: `Freeze ${gate.subject} holds here.`, ...wayOut(gate, place) };
    case 'ReleaseSuspended':
      return { text: `Release ${input.release ?? ''} is suspended by freeze ${gate.subject}.`, ...wayOut(gate, place) };
    case 'AgentSuspended':
      return { text: `Agent ${gate.subject.slice('agent/'.length)}, which would deploy it, is suspended.`, remedy: 'It works again once a quorum lifts the suspension.', command: 'stella stop list' };
    case 'Excepted':
      return { text: `Freeze ${gate.subject} holds here; ${listed(names(gate, 'by'))} let this promotion through.` };
    case 'SourceMissing':
      return { text: `Environment ${gate.subject}, where releases come from, does not exist.`, remedy: `Add it, or name another source in environment ${input.environment}.` };
    case 'SourceNotDeployed':
      return { text: `${gate.subject} does not run exactly this release in a clean state.`, remedy: `Promote it to ${gate.subject} first.`, command: promoteTo(gate.subject, input) };
    case 'Soaking':
      return { text: `It runs in ${gate.subject} since ${word(gate, 'succeededAt')} and must do so for ${spanText(number(gate, 'soakSeconds'))}.` };
    case 'BreakGlassNotAllowed':
    case 'BreakGlassExpired':
    case 'Skipped':
    case 'ReviewMissing':
      return breakGlassAdvice(gate, gate.code, place);
    case 'RunOpen':
      return { text: `A run of another promotion is open here (${word(gate, 'open')}).`, remedy: 'This one is judged again when that run ends.' };
    case 'Closed':
      return { text: `A run of this promotion ended without success at attempt ${number(gate, 'attempt')}.`, ...(input.derived === null ? { remedy: `Raise spec.attempt in the Promotion ${place} to try again.` } : { remedy: 'It is not tried again by itself. A newer release is, or somebody asks for it.', command: promoteHere(input) }) };
    case 'Superseded':
      return { text: 'The promotion was replaced by another before it ran; its approvals fell with it.' };
    case 'Withdrawn':
      return { text: input.derived === null ? 'The promotion was deleted before it ran; what runs keeps running.' : 'What the promotion followed from was gone before it ran; what runs keeps running.' };
    case 'LockMissing':
      return { text: withProblems(gate, 'It is not settled which digests would run'), remedy: 'See that the Release exists and that its registry answers.' };
    case 'PlanInvalid':
      return { text: withProblems(gate, 'There is no valid plan'), remedy: 'Correct the documents that are named, or add a target that matches the placement.' };
    case 'NothingToRemove':
      return { text: withProblems(gate, 'Nothing of it runs here, so there is nothing to remove'), remedy: `Delete the Promotion ${place}.` };
    case 'OutsideWindow':
    case 'DependencyMissing':
    case 'TooManyRuns':
    case 'Held':
    case 'ExpressionFalse':
    case 'ExpressionFailed':
    case 'GateMissing':
      return conditionAdvice(gate, gate.code, input);
    case 'InputInvalid':
      return { text: `The time of judgement, "${word(gate, 'asOf')}", is not a time in UTC.`, remedy: 'Check the clock of the machine that decides.' };
  }
}

/** Conditions of a name of their own: what they ask, and who changes that. */
function conditionAdvice(gate: GateResult, code: ConditionCode, input: DecisionInput): Advice {
  const { subject } = gate;
  const changed = `Gate ${subject} is protected: changing it takes a quorum.`;
  switch (code) {
    case 'OutsideWindow':
      return { text: `Gate ${subject} is closed now.`, remedy: gate.opensAt === null ? `It does not open again. ${changed}` : `It opens at ${gate.opensAt}.` };
    case 'DependencyMissing':
      return { text: `Gate ${subject} waits for what does not run in a clean state: ${names(gate, 'missing').join('; ')}.`, remedy: 'Promote that first. This one is judged again when it runs.', ...promoteFirst(gate) };
    case 'TooManyRuns':
      return { text: `Gate ${subject} lets ${number(gate, 'most')} of these runs be open at once${names(gate, 'busy').length === 0 ? '' : `; open are ${names(gate, 'busy').join(', ')}`}.`, remedy: 'Who has waited longest comes next when one of them ends.' };
    case 'Held':
      if (subject === '') return { text: `The Promotion itself is on hold: ${word(gate, 'reason')}`, remedy: `It goes on once a commit takes spec.hold out of the Promotion ${placeOf(input)}. Approvals that were given meanwhile stay valid.` };
      return { text: `Gate ${subject} is a hold: ${word(gate, 'reason')}`, remedy: `It ends when a quorum takes the hold away. ${changed}`, command: 'stella trust show' };
    case 'ExpressionFalse':
      return { text: `The condition of gate ${subject} does not hold${conditionOf(input, subject)}.`, remedy: `Change what it asks about. ${changed}` };
    case 'ExpressionFailed':
      return { text: `The condition of gate ${subject} cannot be evaluated${conditionOf(input, subject)}: ${FAULTS[word(gate, 'fault')] ?? 'its input is not there'}.`, remedy: `An error is never a yes. ${changed}`, command: 'stella lint' };
    case 'GateMissing':
      return { text: `Gate ${subject} is named here, but no such Gate is in force.`, remedy: 'Add the Gate, or take its name out of environment or application: either takes a quorum.', command: 'stella lint' };
  }
}

type ConditionCode = Extract<ReasonCode, 'OutsideWindow' | 'DependencyMissing' | 'TooManyRuns' | 'Held' | 'ExpressionFalse' | 'ExpressionFailed' | 'GateMissing'>;

const FAULTS: { readonly [fault: string]: string } = {
  Invalid: 'it is no condition of a kind that is supported', TooCostly: 'it would take too many steps, or look through texts that are too long', Failed: 'it asks for something that is not there',
};

/** The promotion that would help, where there is one of them. */
function promoteFirst(gate: GateResult): Pick<Advice, 'command'> {
  const [first, ...more] = names(gate, 'missing');
  return first === undefined || more.length > 0 ? {} : { command: `stella explain ${first.split(' ')[0] ?? ''}` };
}

function conditionOf({ gates }: DecisionInput, name: string): string {
  const fact = gates.find((gate) => gate.name === name);
  return fact?.type === 'expression' ? ` (${fact.expression.length > 200 ? `${fact.expression.slice(0, 200)} …` : fact.expression})` : '';
}

function breakGlassAdvice(gate: GateResult, code: 'BreakGlassNotAllowed' | 'BreakGlassExpired' | 'Skipped' | 'ReviewMissing', place: string): Advice {
  switch (code) {
    case 'BreakGlassNotAllowed':
      return { text: `The glass may not be broken like this: ${listed(names(gate, 'skip'))} would be skipped; policy lets people skip ${names(gate, 'maySkip').join(', ') || 'nothing'}${number(gate, 'withinSeconds') > 0 ? `, for ${spanText(number(gate, 'withinSeconds'))} at most` : ''}.`, remedy: 'Correct breakGlass in the Promotion. Environment and trust root must both allow it.' };
    case 'BreakGlassExpired':
      return { text: `The broken glass expired at ${word(gate, 'expires')}.`, remedy: `Write a later time into the Promotion ${place} and ask again.` };
    case 'Skipped':
      return { text: `Skipped, because the glass was broken: ${gate.gate === 'source' ? '' : 'gate '}${gate.subject}.` };
    case 'ReviewMissing':
      return { text: `Broken glass waits for a review (${gate.subject}); until then only the way back is open.`, remedy: 'Somebody who neither asked for it nor approved it reviews it.', command: `stella approve --review ${place}` };
  }
}

function passedText(gate: GateResult): string {
  switch (gate.gate) {
    case 'promotion':
      return 'The promotion stands.';
    case 'break-glass':
      return `The glass is broken until ${word(gate, 'expires')}: ${listed(names(gate, 'skip'))} skipped. It must be reviewed afterwards.`;
    case 'review':
      return 'No review is owed.';
    case 'lock':
      return `The release is locked as ${word(gate, 'lock')}.`;
    case 'plan':
      return `The plan is ${word(gate, 'plan')}.`;
    case 'run':
      return 'No other run is open here.';
    case 'approvals':
      return `${number(gate, 'have')} of ${people(number(gate, 'need'))} approved: ${listed(names(gate, 'counted'))}.`;
    case 'separation':
      return `Asked for by ${listed(names(gate, 'requesters'))}, who cannot approve${number(gate, 'unknown') > 0 ? '; for each unknown requester one more person must agree' : ''}.`;
    case 'freeze':
      return gate.subject === '' ? 'No freeze is in force here.' : `Freeze ${gate.subject} does not hold now${word(gate, 'begins') === '' ? '' : `; it begins ${word(gate, 'begins')}`}.`;
    case 'source':
      return `${gate.subject} has run this release for ${spanText(number(gate, 'soakSeconds'))} or longer.`;
    case 'window':
      return `Gate ${gate.subject} is open${word(gate, 'closes') === '' ? '' : ` until ${word(gate, 'closes')}`}.`;
    case 'dependency':
      return `Gate ${gate.subject}: ${names(gate, 'runs').join(', ')} ${names(gate, 'runs').length === 1 ? 'runs' : 'run'}.`;
    case 'concurrency':
      return `Gate ${gate.subject} has a place free: ${names(gate, 'busy').length} of ${number(gate, 'most')} runs are open besides.`;
    case 'expression':
      return `The condition of gate ${gate.subject} holds.`;
    case 'hold':
    case 'gate':
      return `Gate ${gate.subject} holds nothing.`;
  }
}

function notRequiredText(gate: GateResult): string {
  switch (gate.gate) {
    case 'approvals':
      return 'No rule asks for approvals here (reconciler-trusted): what runs rests on the word of the server.';
    case 'separation':
      return 'No rule keeps those who ask from approving.';
    case 'lock':
      return 'A removal needs no release.';
    case 'source':
      return gate.subject === '' ? 'It need not run anywhere else first.' : 'Another source has run this release for long enough.';
    case 'dependency':
      return `Gate ${gate.subject} asks nothing of it.`;
    case 'promotion':
    case 'break-glass':
    case 'review':
    case 'plan':
    case 'run':
    case 'freeze':
    case 'window':
    case 'concurrency':
    case 'hold':
    case 'expression':
    case 'gate':
      return 'Not required.';
  }
}

function missingApprovals(gate: GateResult): Advice {
  const have = names(gate, 'counted');
  const missing = names(gate, 'missingRoles');
  const without = names(gate, 'withoutRole');
  const requesters = names(gate, 'requesters');
  const sentences = [`${number(gate, 'have')} of ${people(number(gate, 'need'))} approved${have.length > 0 ? ` (${have.join(', ')})` : ''}.`];
  if (missing.length > 0) sentences.push(`Still missing: ${missing.length === 1 ? `somebody who is ${missing[0] ?? ''}` : `people who are ${missing.join(' or ')}`}.`);
  if (without.length > 0) sentences.push(`Without a role that counts here: ${without.join(', ')}.`);
  if (requesters.length > 0) sentences.push(`Asked for it and so cannot approve: ${requesters.join(', ')}.`);
  const who = names(gate, 'couldApprove');
  if (who.length > 0) return { text: sentences.join(' '), who };
  return { text: sentences.join(' '), remedy: 'Nobody is left who could approve: give somebody else the role, which is a protected change.' };
}

/** New approvals name a new promotion, so what an extension lacks can only be had by one. */
function promotionNeeded(gate: GateResult, place: string): Advice {
  return {
    text: `The approvals behind what runs do not meet what is demanded now: ${number(gate, 'have')} of ${people(number(gate, 'need'))} count${names(gate, 'missingRoles').length > 0 ? `, missing is ${names(gate, 'missingRoles').join(' or ')}` : ''}.`,
    remedy: `A promotion is needed: raise spec.attempt of Promotion ${place}, then have it approved. It deploys to all targets.`,
  };
}

function unknownRequester(gate: GateResult): Advice {
  const requesters = names(gate, 'requesters');
  const known = requesters.length > 0 ? ` besides ${requesters.join(', ')}` : '';
  return {
    text: `Who asked for this${known} cannot be told, so nobody can be told apart from them (rules: ${listed(names(gate, 'clauses'))}).`,
    remedy: 'Somebody who answers for the request adopts it by signing it with their own key; they cannot approve it then.',
  };
}

/** How a freeze ends: by its calendar, by those whom it names, or by the quorum that lifts it. */
function wayOut(gate: GateResult, place: string): Partial<Advice> {
  const count = number(gate, 'mayExcept');
  const lifted = 'It ends when a quorum lifts it.';
  if (count === 0) return { remedy: gate.opensAt === null ? lifted : `It ends by its calendar at ${gate.opensAt}, or when a quorum lifts it.`, command: 'stella stop list' };
  const roles = names(gate, 'roles');
  const who = `${people(count)}${roles.length > 0 ? ` (${roles.join(', ')})` : ''}`;
  return { remedy: `${who} may let this promotion through.${gate.opensAt === null ? '' : ` It ends by its calendar at ${gate.opensAt}.`} ${lifted}`, command: `stella approve ${place} --except ${gate.subject}` };
}

/** For what was asked for by itself: somebody asks for it instead. */
function promoteHere(input: DecisionInput): string {
  return `stella promote ${input.application}/${input.release ?? ''} --to ${input.environment}`;
}

function promoteTo(environment: string, input: DecisionInput): string {
  return `stella promote ${environment}/${input.application}${input.release === null ? '' : ` ${input.release}`}`;
}

function withProblems(gate: GateResult, text: string): string {
  const problems = names(gate, 'problems');
  return problems.length > 0 ? `${text}: ${problems.join('; ')}.` : `${text}.`;
}

function names(gate: GateResult, member: string): readonly string[] {
  const value = gate.detail[member];
  return Array.isArray(value) ? (value as readonly string[]) : [];
}

function number(gate: GateResult, member: string): number {
  const value = gate.detail[member];
  return typeof value === 'number' ? value : 0;
}

function word(gate: GateResult, member: string): string {
  const value = gate.detail[member];
  return typeof value === 'string' ? value : '';
}

function listed(all: readonly string[]): string {
  return all.length === 0 ? 'nobody that is known' : all.join(', ');
}

function people(count: number): string {
  return count === 1 ? '1 person' : `${count} people`;
}

/** A length of time in its two largest units: `1 d 2 h`. */
function spanText(seconds: number): string {
  const units = [['d', 86_400], ['h', 3_600], ['min', 60], ['s', 1]] as const;
  let rest = seconds;
  const parts: string[] = [];
  for (const [unit, length] of units) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts.length === 0 ? 'any time' : parts.slice(0, 2).join(' ');
}
