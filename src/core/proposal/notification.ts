import { parseCanonicalJson } from '../model/canonical-json.ts';
import { digestOfBytes, hexOf, type Digest } from '../model/digest.ts';
import { documentKey, type AnyDocument, type NotifierSpec, type ProtectedChange } from '../model/documents.ts';
import { fillTemplate, type NotificationEvent, type TemplateValues } from '../model/notifier.ts';
import { plain } from '../model/plain-text.ts';
import { explainDecision, type ExplainLine } from '../decision/explain.ts';
import { goesBack } from '../decision/mode.ts';
import type { DecisionInput } from '../decision/types.ts';
import type { ArtifactLookup } from '../evidence/fold.ts';
import { appStateOf, type AppState, type LogState } from '../evidence/log-state.ts';
import type { DeploymentOutcomePredicate, EvidenceRecord, PromotionDecisionPredicate, ProtectedChangePredicate } from '../evidence/records.ts';
import { liftingIn } from '../trust/stop.ts';
import { inForceText } from './situation-document.ts';
import { explainSituation, situationHeadline } from './situation.ts';
import { shortLine, whatOf } from './situation-words.ts';

/** Something that went from one state to another, told once. Holds no value of any secret: records have none. */
export type Notification = {
  readonly type: 'stella/notification/v1';
  /** The same for the same transition, whoever tells it again after whichever crash. */
  readonly id: string;
  readonly event: NotificationEvent;
  readonly log: Digest;
  readonly environment: string | null;
  readonly application: string | null;
  readonly release: string | null;
  /** Record that says so; null for what no record says. */
  readonly record: number | null;
  readonly at: string;
  /** One line of at most 140 characters. */
  readonly headline: string;
  /** Sentences of `stella explain`, each on one line. */
  readonly lines: readonly string[];
};

/** A record with the states of the log around it. */
export type NotifiableStep = { readonly before: LogState; readonly record: EvidenceRecord; readonly after: LogState };

const LINES = 20;
const LINE_CHARS = 500;

/** What one record of the log is worth telling; null for what goes on as it was, and for what only the log is interested in. */
export function notificationOf(step: NotifiableStep, artifact: ArtifactLookup): Notification | null {
  const { record } = step;
  switch (record.type) {
    case 'promotion-decision':
      return ofDecision(step, record.predicate, artifact);
    case 'deployment-outcome':
      return ofOutcome(step, record.predicate, artifact);
    case 'protected-change':
      return ofChange(step, record.predicate, artifact);
    case 'anchor': {
      const { ref, from, to } = record.predicate.rewrite;
      return made(step, 'rewritten', { headline: `a quorum accepted that ${ref} went from ${from.slice(0, 12)} to ${to.slice(0, 12)}`, lines: [] });
    }
    default:
      return null;
  }
}

/** A condition of the server that somebody has to look at: it is in no record. @param size records of the log then, so that the same fault another day is told again */
export function notificationOfCondition(log: Digest, at: string, size: number, c: { readonly kind: string; readonly name: string; readonly reason: string; readonly message: string; readonly event: NotificationEvent }): Notification {
  const [environment = null, application = null] = c.kind === 'Promotion' ? c.name.split('/') : [];
  const id = idOf([log, 'condition', c.kind, c.name, c.reason, c.message, String(size)]);
  const headline = `${c.kind === 'Repository' ? 'the repository' : `${c.kind} ${c.name}`}: ${c.reason}`;
  return { type: 'stella/notification/v1', id, event: c.event, log, environment, application, release: null, record: null, at, headline: shortLine(headline), lines: bounded([c.message]) };
}

/** Whether a notifier is to be told: what belongs to no place goes to those only that ask for every place. */
export function isWanted(spec: NotifierSpec, { event, environment, application }: Notification): boolean {
  const within = (list: readonly string[] | undefined, name: string | null): boolean => list === undefined || (name !== null && list.includes(name));
  return spec.events.includes(event) && within(spec.environments, environment) && within(spec.applications, application);
}

/** Subject and body of what is sent. @param escape makes a value harmless in the channel's own markup */
export function wordsOf(spec: Pick<NotifierSpec, 'template'>, notification: Notification, escape: (value: string) => string = (value) => value): { readonly subject: string; readonly text: string } {
  const { event, headline, lines, environment, application, release, record, at, log } = notification;
  const values: TemplateValues = { event, headline, text: lines.join('\n'), environment: environment ?? '', application: application ?? '', release: release ?? '', record: record === null ? '' : String(record), at, log };
  const subject = fillTemplate(spec.template?.subject ?? DEFAULT_SUBJECT, values, (value) => escape(plain(value)));
  const text = fillTemplate(spec.template?.text ?? DEFAULT_TEXT, values, (value) => escape(value.split('\n').map(plain).join('\n')));
  return { subject: subject.replace(/[\r\n]+/g, ' '), text: text.trim() };
}

const DEFAULT_SUBJECT = '[stella] {{headline}}';
const DEFAULT_TEXT = '{{headline}}\n\n{{text}}\n\n{{event}} at {{at}}';

function ofDecision(step: NotifiableStep, p: PromotionDecisionPredicate, artifact: ArtifactLookup): Notification | null {
  const { environment, application, decision } = p;
  const before = appStateOf(step.before, environment, application);
  const event = eventOf(before, p);
  if (event === null) return null;
  const input = read<DecisionInput>(artifact, p.input);
  const question = { state: step.after, environment, application, artifact, promotion: p.sources.promotionDocument, ...(input === null ? {} : { decided: { decision, input } }) };
  const said = event === 'allowed' ? `allowed (record ${step.record.header.seq})` : situationHeadline(question);
  const gates = input === null ? [] : explainDecision(decision, input).filter((line) => line.about === 'decision' || (line.about === 'gate' && line.outcome !== 'passed'));
  return made(step, event, { environment, application, release: p.release, headline: `${environment}/${application} ${whatOf(p)}: ${said}`, lines: gates.map(sentence) });
}

/** The same promotion that waits for the same answer is no news, and neither is an allow that is renewed. */
function eventOf({ lastDecision: last, openRun }: AppState, { decision: { outcome, reasons, promotionDigest }, sources, operation }: PromotionDecisionPredicate): NotificationEvent | null {
  if (reasons.includes('Superseded')) return 'superseded';
  if (reasons.includes('Withdrawn')) return 'withdrawn';
  // How its run ended was told when it ended.
  if (reasons.includes('Closed')) return null;
  const event = ({ allow: 'allowed', pending: 'waiting', refuse: 'refused' } as const)[outcome];
  if (openRun !== null && openRun.promotionDigest === promotionDigest) return outcome === 'allow' ? null : openRun.fallen ? null : event;
  return last !== null && last.promotion === sources.promotionDocument && last.outcome === outcome && last.operation === operation && !last.ended && outcome !== 'allow' ? null : event;
}

function ofOutcome(step: NotifiableStep, p: DeploymentOutcomePredicate, artifact: ArtifactLookup): Notification {
  const { environment, application, operation, result, fallback } = p;
  const run = appStateOf(step.before, environment, application).openRun;
  const input = run === null ? null : read<DecisionInput>(artifact, run.input);
  const wentBack = input !== null && operation === 'promote' && input.lock !== input.state.lock && goesBack(input.state.previous, input);
  const event = result === 'Succeeded' ? (wentBack ? 'rolled-back' : 'deployed') : fallback === 'Succeeded' ? 'fell-back' : result === 'Aborted' ? 'aborted' : 'failed';
  const question = { state: step.after, environment, application, artifact, ...(run === null ? {} : { promotion: run.promotion }) };
  const said = event === 'rolled-back' ? `rolled back by record ${step.record.header.seq}` : situationHeadline(question);
  return made(step, event, {
    environment, application, release: run?.release ?? null, headline: `${environment}/${application} ${whatOf(run ?? { release: null, operation })}: ${said}`, lines: explainSituation(question).map(sentence),
  });
}

function ofChange(step: NotifiableStep, { basis, changes }: ProtectedChangePredicate, artifact: ArtifactLookup): Notification | null {
  if (basis === 'genesis') return null;
  const event = basis === 'stop' ? 'stopped' : changes.some((change) => lifts(step.before, change, artifact)) ? 'lifted' : 'change-in-force';
  const names = changes.map(({ kind, name }) => `${kind}/${name}`);
  const words = { stopped: 'a stop is in force', lifted: 'a stop was lifted', 'change-in-force': 'in force' } as const;
  const lines = changes.map(({ kind, name }) => {
    const entry = step.after.inForce.get(documentKey(kind, name));
    return entry === undefined ? `${kind}/${name} is no longer in force.` : inForceText(`${kind}/${name}`, entry);
  });
  return made(step, event, { headline: `${words[event]}: ${names.slice(0, 3).join(', ')}${names.length > 3 ? ` and ${names.length - 3} more` : ''} (record ${step.record.header.seq})`, lines });
}

function lifts({ inForce }: LogState, { kind, name, to }: ProtectedChange, artifact: ArtifactLookup): boolean {
  const before = inForce.get(documentKey(kind, name))?.document ?? null;
  return liftingIn({ before, after: to === null ? null : read<AnyDocument>(artifact, to) }) !== null;
}

function sentence({ text, remedy, command }: ExplainLine): string {
  return [text, remedy, command].filter((part) => part !== null).join(' ');
}

function made({ record, after }: NotifiableStep, event: NotificationEvent, p: { readonly headline: string; readonly lines: readonly string[]; readonly environment?: string; readonly application?: string; readonly release?: string | null }): Notification {
  const { seq, asOf } = record.header;
  return {
    type: 'stella/notification/v1', id: idOf([after.logId, String(seq), record.digest]), event, log: after.logId, environment: p.environment ?? null, application: p.application ?? null, release: p.release ?? null,
    record: seq, at: asOf, headline: shortLine(p.headline), lines: bounded(p.lines),
  };
}

function bounded(lines: readonly string[]): readonly string[] {
  return lines.slice(0, LINES).map((line) => [...plain(line)].slice(0, LINE_CHARS).join(''));
}

function idOf(parts: readonly string[]): string {
  return hexOf(digestOfBytes(parts.join('\n'))).slice(0, 32);
}

function read<T>(artifact: ArtifactLookup, digest: Digest): T | null {
  const bytes = artifact(digest);
  return bytes === undefined ? null : ((parseCanonicalJson(bytes) as T | undefined) ?? null);
}
