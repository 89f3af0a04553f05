import { parseCanonicalJson } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';
import type { Lock, Runs } from '../model/preimages.ts';
import { derivedFrom } from '../decision/explain-automatic.ts';
import { explainDecision, lineOf, type ExplainLine, type SituationCode } from '../decision/explain.ts';
import type { Advice } from '../decision/explain-gates.ts';
import { goesBack } from '../decision/mode.ts';
import type { Decision, DecisionInput } from '../decision/types.ts';
import { failureText } from '../evidence/failures.ts';
import type { ArtifactLookup } from '../evidence/fold.ts';
import { appStateOf, type AppState, type LastOutcome, type LogState } from '../evidence/log-state.ts';
import { configurationChanges } from './situation-changes.ts';
import { listOf, shortLine, waitsFor, whatOf } from './situation-words.ts';

/** What is asked: how one application stands in one environment, and what became of one promotion of it. */
export type SituationQuestion = {
  readonly state: LogState;
  readonly environment: string;
  readonly application: string;
  /** Bytes of what `situationArtifacts` names; without them fewer people and reasons are told. */
  readonly artifact: ArtifactLookup;
  /** Digest of the Promotion document that is asked about; absent: of the one that was last decided about. */
  readonly promotion?: Digest;
  /** Digest of the Promotion document on the target branch, null where there is none; absent where nobody looked. */
  readonly declared?: Digest | null;
  /** Of a promotion that may be history: the generation that its run got, and how that ended; absent: the newest of its document. */
  readonly history?: { readonly generation: number; readonly outcome: { readonly seq: number; readonly result: string } | null };
  /** A decision that was taken now, or as it stands in the log. */
  readonly decided?: { readonly decision: Decision; readonly input: DecisionInput } | null;
  /** What is declared runs already: nothing is due. */
  readonly isSatisfied?: boolean;
};

/** What became of a promotion. */
type Fate =
  | { readonly code: 'Skipped' | 'NotDecided' | 'Withdrawn' }
  | { readonly code: 'Deploying' | 'Stopping'; readonly seq: number }
  | { readonly code: 'Deployed' | 'Replaced' | 'Ended'; readonly seq: number }
  | { readonly code: 'RunFailed' | 'FellBack' | 'RunAborted' | 'ExtensionFailed'; readonly outcome: LastOutcome }
  | { readonly code: 'Waiting' | 'Refused' | 'Allowed'; readonly seq: number }
  | { readonly code: 'Superseded'; readonly by: string | null; readonly seq: number | null };

const SHOWN_FAILURES = 3;

/** What runs, how it came there, what the last run ended as, and what became of the promotion that is asked about; then the decision, gate by gate. */
export function explainSubject(q: SituationQuestion): readonly ExplainLine[] {
  return [...explainSituation(q), ...(q.decided == null ? [] : explainDecision(q.decided.decision, q.decided.input))];
}

/** The part of `explainSubject` that is about the place; a pure function of the log. */
export function explainSituation(q: SituationQuestion): readonly ExplainLine[] {
  const app = appOf(q);
  return [...runsLines(q, app), ...lastRunLines(q, app), ...openRunLines(q, app), ...fateLines(q, app)];
}

/** Artifacts from which people and reasons are told, for callers that must load them first. */
export function situationArtifacts(state: LogState, environment: string, application: string): readonly Digest[] {
  const { standing, runs, previous, lastDecision } = appStateOf(state, environment, application);
  return [standing?.input, runs, previous?.runs, lastDecision?.input].filter((digest) => digest != null);
}

/** Further artifacts, once those of `situationArtifacts` are there: what the allow replaced. */
export function replacedArtifacts(state: LogState, environment: string, application: string, artifact: ArtifactLookup): readonly Digest[] {
  const { standing } = appStateOf(state, environment, application);
  const input = standing === null ? null : read<DecisionInput>(artifact, standing.input);
  return input === null ? [] : [input.state.runs, input.state.lock].filter((digest) => digest !== null);
}

/**
 * How it stands in one line of at most 140 characters, for a commit status: `waiting for sre (1 of 2 approved)`, `deployed by record 42`.
 * @param as merged: says so where nothing of it runs yet
 */
export function situationHeadline(q: SituationQuestion, as: 'merged' | 'asked' = 'asked'): string {
  const app = appOf(q);
  const fate = fateOf(q, app);
  const merged = as === 'merged' && ['Waiting', 'Refused', 'NotDecided', 'Allowed'].includes(fate.code) ? 'merged, ' : '';
  return shortLine(merged + headlineOf(q, app, fate));
}

/** Stable name of how it stands. */
export function situationCode(q: SituationQuestion): SituationCode {
  return fateOf(q, appOf(q)).code;
}

function headlineOf(q: SituationQuestion, app: AppState, fate: Fate): string {
  switch (fate.code) {
    case 'Skipped':
      return `nothing to do: ${app.release ?? 'nothing'} runs already, as declared`;
    case 'NotDecided':
      return 'not decided yet';
    case 'Withdrawn':
      return 'withdrawn before it ran';
    case 'Deploying':
      return `deploying ${whatOf(app.openRun ?? unnamed)} (record ${fate.seq})`;
    case 'Stopping':
      return `stopping: the allow of the run no longer holds (record ${fate.seq})`;
    case 'Deployed':
      return `${app.release === null ? 'removed' : 'deployed'} by record ${fate.seq}`;
    case 'Replaced':
      return `deployed by record ${fate.seq}, replaced since by ${app.release ?? 'its removal'}`;
    case 'Ended':
      return `ended without success (record ${fate.seq})`;
    case 'RunFailed':
    case 'FellBack':
    case 'RunAborted':
    case 'ExtensionFailed':
      return `${endedWords(fate.outcome, app)} (record ${fate.outcome.seq})`;
    case 'Waiting':
      return `waiting for ${waitsFor(heldOf(q, app))}`;
    case 'Refused':
      return `refused, waiting for ${waitsFor(heldOf(q, app))}`;
    case 'Allowed':
      return `allowed (record ${fate.seq})`;
    case 'Superseded':
      return `superseded${fate.by === null ? '' : ` by ${fate.by}`}${fate.seq === null ? '' : ` (record ${fate.seq})`}`;
  }
}

const unnamed = { release: null, operation: 'promote' } as const;

/** What was asked about, in the order in which one thing hides another: a run that is open, the last decision, what runs, what came after. */
function fateOf(q: SituationQuestion, app: AppState): Fate {
  const { lastDecision: last, openRun, lastOutcome, standing } = app;
  if (q.isSatisfied === true) return { code: 'Skipped' };
  const past = pastFate(q, app);
  if (past !== null) return past;
  const asked = q.promotion ?? q.decided?.input.promotion ?? openRun?.promotion ?? last?.promotion ?? null;
  if (asked === null) return { code: 'NotDecided' };
  if (openRun?.promotion === asked) return { code: openRun.fallen ? 'Stopping' : 'Deploying', seq: openRun.decision.seq };
  if (last?.promotion === asked && last.outcome !== 'allow') return heldFate(last, app);
  if (lastOutcome?.promotion === asked && lastOutcome.result !== 'Succeeded') return { code: endedCode(lastOutcome), outcome: lastOutcome };
  if (standing?.sources.promotionDocument === asked || lastOutcome?.promotion === asked) return { code: 'Deployed', seq: app.deployedBy?.outcome ?? lastOutcome?.seq ?? 0 };
  if (last?.promotion === asked) return { code: 'Allowed', seq: last.seq };
  if (q.decided != null) return decidedFate(q.decided.decision, last?.seq ?? null);
  if (q.declared === asked) return { code: 'NotDecided' };
  if (q.declared === null) return { code: 'Withdrawn' };
  return last === null ? { code: 'NotDecided' } : { code: 'Superseded', by: whatOf(last), seq: last.seq };
}

/** A run of an earlier generation that has ended. */
function pastFate({ history }: SituationQuestion, { standing, lastOutcome, deployedBy }: AppState): Fate | null {
  if (history?.outcome == null || lastOutcome?.seq === history.outcome.seq) return null;
  const { seq, result } = history.outcome;
  if (result !== 'Succeeded') return { code: 'Ended', seq };
  return { code: standing?.generation === history.generation && deployedBy?.outcome === seq ? 'Deployed' : 'Replaced', seq };
}

/** The last decision was a no, or not yet. */
function heldFate(last: NonNullable<AppState['lastDecision']>, app: AppState): Fate {
  const has = (code: string): boolean => last.held.some((gate) => gate.code === code);
  if (has('Withdrawn')) return { code: 'Withdrawn' };
  if (has('Superseded')) return { code: 'Superseded', by: null, seq: last.seq };
  if (has('Closed') && app.lastOutcome?.promotion === last.promotion) return { code: endedCode(app.lastOutcome), outcome: app.lastOutcome };
  return { code: last.outcome === 'refuse' ? 'Refused' : 'Waiting', seq: last.seq };
}

/** A decision that is not in the log: a rehearsal, or one that was replaced since. */
function decidedFate({ outcome, reasons }: Decision, seq: number | null): Fate {
  if (reasons.includes('Superseded')) return { code: 'Superseded', by: null, seq };
  if (reasons.includes('Withdrawn')) return { code: 'Withdrawn' };
  return { code: outcome === 'allow' ? 'Allowed' : outcome === 'refuse' ? 'Refused' : 'Waiting', seq: seq ?? 0 };
}

function heldOf(q: SituationQuestion, app: AppState): NonNullable<AppState['lastDecision']>['held'] {
  return q.decided == null ? (app.lastDecision?.held ?? []) : q.decided.decision.gates.filter(({ outcome }) => outcome !== 'passed');
}

function runsLines(q: SituationQuestion, app: AppState): readonly ExplainLine[] {
  const place = placeOf(q);
  if (app.deployedBy === null) return [line(q, 'NeverDeployed', { text: `Nothing was ever deployed to ${place}.` })];
  const { allow, outcome } = app.deployedBy;
  const records = `allowed by record ${allow}, deployed by record ${outcome}`;
  if (app.release === null) return [line(q, 'Removed', { text: `${place} runs nothing: it was removed at ${app.succeededAt ?? ''} (${records.replace('deployed', 'removed')}).` })];
  const input = app.standing === null ? null : read<DecisionInput>(q.artifact, app.standing.input);
  const lines = [line(q, 'Deployed', { text: `${place} runs ${app.release} since ${app.succeededAt ?? ''}: ${records}.${input === null ? '' : peopleOf(input)}` })];
  if (input !== null) lines.push(...howLines(q, input, allow));
  if (!app.clean) lines.push(line(q, 'NotClean', { text: `${place} is not clean: a run that ended without success may have left something else on its targets.` }));
  return lines;
}

function peopleOf({ approvals, requesters, clauses }: DecisionInput): string {
  const yes = [...new Set(approvals.filter(({ action }) => action === 'approve').map(({ principal }) => principal))];
  const who = yes.length > 0 ? ` Approved by ${listOf(yes)}` : clauses.length === 0 ? ' No rule asked for approvals' : ' Nobody approved';
  const asked = requesters.people.length === 0 ? '' : `; asked for by ${listOf(requesters.people)}`;
  return `${who}${asked}.`;
}

/** Why the allow that stands was no plain step to another release. */
function howLines(q: SituationQuestion, input: DecisionInput, allow: number): readonly ExplainLine[] {
  const lines: ExplainLine[] = [];
  if (input.breakGlass !== null) lines.push(line(q, 'BrokenGlass', { text: `Record ${allow} broke the glass (${listOf(input.breakGlass.skip)} skipped): ${input.breakGlass.reason}` }));
  if (input.lock !== null && input.lock === input.state.lock) {
    lines.push(line(q, 'Redeployed', { text: `Record ${allow} deployed the same release again, ${whyAgain(q, input)}.` }));
  } else if (goesBack(input.state.previous, input)) {
    const left = input.state.lock === null ? null : read<Lock>(q.artifact, input.state.lock);
    lines.push(line(q, 'RolledBack', { text: `With record ${allow} ${placeOf(q)} went back to exactly what had run before${left === null ? '' : ` ${left.release}`}.` }));
  }
  return lines;
}

function whyAgain({ artifact }: SituationQuestion, { state, runs, attempt }: DecisionInput): string {
  if (state.runs !== runs) {
    const [before, after] = [state.runs, runs].map((digest) => (digest === null ? null : read<Runs>(artifact, digest)));
    const changes = before == null || after == null ? [] : configurationChanges(before, after);
    return `because its configuration changed${changes.length === 0 ? '' : `: ${listOf(changes)}`}`;
  }
  return state.clean ? `because somebody asked for attempt ${attempt}` : 'because what ran was not clean';
}

/** What the last run failed on, until another one has ended. */
function lastRunLines(q: SituationQuestion, app: AppState): readonly ExplainLine[] {
  const { lastOutcome: outcome, closed, standing } = app;
  if (outcome === null || outcome.result === 'Succeeded') return [];
  const failures = outcome.failures.slice(0, SHOWN_FAILURES).map(failureText);
  const text = `${capital(endedWords(outcome, app))} at ${outcome.endedAt} (allowed by record ${outcome.openedSeq}, ended by record ${outcome.seq})${failures.length === 0 ? '' : `: ${failures.join('; ')}`}.`;
  const isClosed = outcome.operation === 'extend' ? standing?.closed != null : closed !== null;
  return [line(q, endedCode(outcome), isClosed ? { text, remedy: 'It is not tried again by itself.', command: `stella retry ${placeOf(q)}` } : { text })];
}

function endedCode({ operation, result, fallback }: LastOutcome): 'RunFailed' | 'FellBack' | 'RunAborted' | 'ExtensionFailed' {
  if (operation === 'extend') return 'ExtensionFailed';
  if (fallback === 'Succeeded') return 'FellBack';
  return result === 'Aborted' ? 'RunAborted' : 'RunFailed';
}

function endedWords(outcome: LastOutcome, { release }: AppState): string {
  const { operation, result, reason, fallback } = outcome;
  const what = operation === 'extend' ? `bringing ${outcome.release ?? 'it'} to further targets` : `the run of ${whatOf(outcome)}`;
  const back = fallback === null ? '' : fallback === 'Succeeded' ? `; it fell back to ${release ?? 'nothing'}` : '; falling back did not succeed either';
  return `${what} ended as ${result} (${reason})${back}`;
}

function openRunLines(q: SituationQuestion, { openRun }: AppState): readonly ExplainLine[] {
  if (openRun === null) return [];
  const what = openRun.operation === 'extend' ? `${openRun.release ?? 'it'} is being brought to further targets` : openRun.operation === 'remove' ? 'what runs is being removed' : `${openRun.release ?? 'it'} is being deployed`;
  if (!openRun.fallen) return [line(q, 'Deploying', { text: `${capital(what)} since record ${openRun.openedSeq}, as generation ${openRun.generation}; its allow holds until ${openRun.notAfter} (record ${openRun.decision.seq}).` })];
  return [line(q, 'Stopping', { text: `The run of ${whatOf(openRun)} (record ${openRun.openedSeq}) begins nothing more: its allow no longer holds.` })];
}

/** What nothing above has said yet. */
function fateLines(q: SituationQuestion, app: AppState): readonly ExplainLine[] {
  const { lastDecision: last } = app;
  // A run that is open has its own line: what waits behind it is told as well.
  const asked = q.promotion ?? q.decided?.input.promotion ?? last?.promotion;
  const fate = fateOf(asked === undefined ? q : { ...q, promotion: asked }, app);
  const what = whatOf(q.decided?.input ?? last ?? unnamed);
  const origin = last?.derived == null ? '' : ` (${derivedFrom(last.derived)})`;
  switch (fate.code) {
    case 'Skipped':
      return [line(q, fate.code, { text: `${placeOf(q)} runs already exactly what is declared; nothing needs to happen.` })];
    case 'NotDecided':
      return app.deployedBy === null && q.promotion === undefined ? [] : [line(q, fate.code, { text: 'It was not decided about yet.' })];
    case 'Superseded':
      return [line(q, fate.code, { text: `The promotion was superseded${fate.by === null ? '' : ` by ${fate.by}`}${fate.seq === null ? '' : ` (record ${fate.seq})`} before it ran; its approvals fell with it.` })];
    case 'Replaced':
      return [line(q, fate.code, { text: `It was deployed by record ${fate.seq}; ${app.release === null ? 'it was removed' : `${app.release} replaced it`} since.` })];
    case 'Ended':
      return [line(q, fate.code, { text: `Its run ended without success (record ${fate.seq}); another was decided about since.` })];
    case 'Withdrawn':
      return [line(q, fate.code, { text: `The promotion was taken back before it ran${last === null ? '' : ` (record ${last.seq})`}; what runs keeps running.` })];
    case 'Waiting':
      return q.decided == null ? [line(q, fate.code, { text: `${capital(what)}${origin} is waiting for ${waitsFor(heldOf(q, app))} (record ${fate.seq}).` })] : [];
    case 'Refused':
      return q.decided == null ? [line(q, fate.code, { text: `${capital(what)}${origin} is refused (record ${fate.seq}): it waits for ${waitsFor(heldOf(q, app))}.` })] : [];
    default:
      return [];
  }
}

function appOf({ state, environment, application }: SituationQuestion): AppState {
  return appStateOf(state, environment, application);
}

function placeOf({ environment, application }: SituationQuestion): string {
  return `${environment}/${application}`;
}

function line(q: SituationQuestion, code: SituationCode, advice: Advice): ExplainLine {
  return lineOf({ about: 'situation', subject: placeOf(q), code }, advice);
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function read<T>(artifact: ArtifactLookup, digest: Digest): T | null {
  const bytes = artifact(digest);
  return bytes === undefined ? null : ((parseCanonicalJson(bytes) as T | undefined) ?? null);
}
