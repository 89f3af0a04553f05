import { canonicalBytes, type JsonObject } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import { requestDigest, type DocumentOf } from '../core/model/documents.ts';
import { compareText, splitPair } from '../core/model/names.ts';
import { buildDecisionInput, type BuiltInput } from '../core/decision/build-input.ts';
import { decide } from '../core/decision/decide.ts';
import { whatIsDue, type Due, type Extension } from '../core/decision/extension.ts';
import { isTouched } from '../core/desired/rewrite-reach.ts';
import type { Derivation } from '../core/decision/automatic.ts';
import { explainDerivation } from '../core/decision/explain-automatic.ts';
import { explainDecision } from '../core/decision/explain.ts';
import type { Decision, DecisionInput } from '../core/decision/types.ts';
import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { promotionMembers } from '../core/evidence/decision-members.ts';
import { failureText } from '../core/evidence/failures.ts';
import { appStateOf, type AppState, type LogState } from '../core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../core/evidence/records.ts';
import { EVIDENCE_FILE, PREVIOUS_STICKER, STICKER } from '../core/release/sticker.ts';
import type { Runs } from '../core/model/preimages.ts';
import { stickerFor } from './decision-sticker.ts';
import { extensionArtifacts, recordExtension } from './extend-subjects.ts';
import { isAbout, isRunNews, rejudge } from './open-run.ts';
import { holdArtifacts, type Pass } from './pass.ts';
import { reportDebts } from './settle-reviews.ts';
import { promotionAsked, type Asked } from './derive-promotion.ts';
import { gatherMaterial, type Planned, type PlanningWorld, type Subject } from './planning.ts';

/** A decision, and what it was made from. */
export type Made = { readonly decision: Decision; readonly input: DecisionInput };

/** What was found about one subject, whether or not it was worth a record. */
export type Judged = {
  readonly subject: Subject;
  /** What is declared, or derived where nobody declared anything; null where there is neither, or nothing usable. */
  readonly promotion: DocumentOf<'Promotion'> | null;
  /** Set where the place is automatic and no Promotion stands there. */
  readonly derivation: Derivation | null;
  /** null where nothing is declared. */
  readonly planned: Planned | null;
  /** What it asks for: itself, an extension to targets that came later, or nothing, because it runs already. */
  readonly due: Due['type'];
  /** Of what is due; null where nothing is. */
  readonly made: Made | null;
  /** What is extended to which targets; null unless that is due. */
  readonly extension: Extension | null;
};

/** Decides every subject of `subjects`, who has waited longest first, the others by environment and application; writes what changed (EVIDENCE "When a decision is written"). */
export async function decideSubjects(pass: Pass, subjects: Iterable<string>): Promise<readonly Judged[]> {
  const judged: Judged[] = [];
  for (const key of inTurn(pass.batch.state, subjects)) {
    const [environment, application] = splitPair(key);
    judged.push(await decideSubject(pass, { environment, application }));
  }
  return judged;
}

/** Each decision sees the runs that those before it opened. So where gates let few runs be open, a place that is free goes to who has waited longest. */
function inTurn(state: LogState, subjects: Iterable<string>): readonly string[] {
  const waits = [...subjects].map((subject) => {
    const last = state.states.get(subject)?.lastDecision;
    return { subject, since: last?.outcome === 'pending' && !last.ended ? last.requestedAt : null };
  });
  const byTurn = (a: (typeof waits)[number], b: (typeof waits)[number]): number => Number(a.since === null) - Number(b.since === null) || compareText(a.since ?? '', b.since ?? '') || compareText(a.subject, b.subject);
  return waits.sort(byTurn).map(({ subject }) => subject);
}

async function decideSubject(pass: Pass, s: Subject): Promise<Judged> {
  const { batch } = pass;
  await loadArtifacts(pass, s);
  reportDebts(pass, s);
  const judged = await judgeOpenRun(pass, s);
  const asked = promotionAsked({ state: batch.state, desired: pass.loaded.state }, s);
  const { promotion, derived, derivation } = asked;
  await endReplaced(pass, s, asked);
  if (promotion === null) {
    reportState(pass, s, asked, null);
    return { subject: s, promotion, derivation, planned: null, due: 'nothing', made: null, extension: null };
  }
  const world: PlanningWorld = { ...pass, state: batch.state, desired: pass.loaded.state, lookup: batch.lookup, openPgp: batch.openPgp };
  const planned = await gatherMaterial(world, s, promotion, { derived });
  const built = buildDecisionInput(batch.state, planned.material, batch.asOf, batch.sources);
  const due = whatIsDue(batch.state, built.input, batch.sources);
  if (due.type === 'nothing') {
    reportState(pass, s, asked, null);
    return { subject: s, promotion, derivation, planned, due: 'nothing', made: null, extension: null };
  }
  const extension = due.type === 'extension' ? due.extension : null;
  const { input } = extension?.built ?? built;
  const decision = extension?.decision ?? decide(input);
  settle(pass, { subject: s, asked, planned, built, extension, decision }, judged);
  return { subject: s, promotion, derivation, planned, due: due.type, made: { decision, input }, extension };
}

type Found = Pick<Judged, 'subject' | 'extension'> & { readonly asked: Asked; readonly planned: Planned; readonly built: BuiltInput; readonly decision: Decision };

/** Records what is news, and says how it stands. @param judged what the allow of its open run is by now */
function settle(pass: Pass, { subject: s, asked, planned, built, extension, decision }: Found, judged: Made | null): void {
  const app = appStateOf(pass.batch.state, s.environment, s.application);
  const { input } = extension?.built ?? built;
  if (judged !== null && isAbout(app.openRun, input)) return reportState(pass, s, asked, judged);
  // T25: nothing new is allowed where the rewrite reaches; a no counts all the same.
  if (decision.outcome === 'allow' && pass.frozen !== null && isTouched(pass.frozen.reach, s)) {
    return pass.conditions.set({ kind: 'Promotion', name: `${s.environment}/${s.application}`, type: 'Ready', status: 'False', reason: 'Rewound', message: `the target branch was rewritten here; it is allowed again once the rewrite ${pass.frozen.digest} is accepted` });
  }
  if (isNews(app, extension?.built ?? built, decision)) {
    if (extension === null) record(pass, planned, built, decision);
    else recordExtension(pass, extension);
  }
  reportState(pass, s, asked, { decision, input });
}

/** Everything that deciding looks up synchronously. */
async function loadArtifacts(pass: Pass, s: Subject): Promise<void> {
  const app = appStateOf(pass.batch.state, s.environment, s.application);
  const last = app.lastDecision;
  const wanted = [...app.approvals, ...(last === null ? [] : [last.promotionArtifact]), ...(last?.plan == null ? [] : [last.plan]), ...(app.runs === null ? [] : [app.runs]), ...extensionArtifacts(app)];
  await holdArtifacts(pass, wanted);
}

/** An unchanged relevant digest and outcome write nothing. */
function isNews({ lastDecision: last }: AppState, built: BuiltInput, decision: Decision): boolean {
  return last === null || last.promotion !== built.input.promotion || last.relevant !== built.relevant || last.outcome !== decision.outcome;
}

/** T23: an open run goes on only as long as its own allow holds. @returns what its allow is by now; null when no run is open */
async function judgeOpenRun(pass: Pass, s: Subject): Promise<Made | null> {
  const { batch } = pass;
  const { openRun } = appStateOf(batch.state, s.environment, s.application);
  if (openRun === null) return null;
  const rejudged = await rejudge(pass, s, openRun);
  const { built, decision } = rejudged;
  // T25: nothing new is allowed where the rewrite reaches; a no counts all the same.
  const isFrozen = decision.outcome === 'allow' && pass.frozen !== null && isTouched(pass.frozen.reach, s);
  if (!isFrozen && isRunNews(openRun, rejudged, batch)) {
    if (rejudged.extension === null) record(pass, rejudged.planned, built, decision);
    else recordExtension(pass, rejudged.extension);
  }
  return { decision, input: built.input };
}

/** A promotion that was replaced or deleted before its run ends as refuse; with a run open, the run ends first (DESIGN §6). */
async function endReplaced(pass: Pass, s: Subject, { promotion: now, derivation, isUnclear }: Asked): Promise<void> {
  const { batch } = pass;
  const { lastDecision: last, openRun } = appStateOf(batch.state, s.environment, s.application);
  if (openRun !== null && openRun.promotion === last?.promotion) return;
  if (isUnclear && last?.derived != null) return;
  // An extension is nobody's request: it ends by itself once what runs is replaced.
  if (last === null || last.ended || last.outcome === 'allow' || last.operation === 'extend' || (now !== null && requestDigest(now) === last.promotion)) return;
  const bytes = batch.lookup(last.promotionArtifact);
  const promotion = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as DocumentOf<'Promotion'> | undefined);
  if (promotion === undefined) return;
  const world: PlanningWorld = { ...pass, state: batch.state, desired: pass.loaded.state, lookup: batch.lookup, openPgp: batch.openPgp };
  const planned = await gatherMaterial(world, s, promotion, { ended: now === null || derivation?.isKept === true ? 'Withdrawn' : 'Superseded', derived: last.derived });
  const built = buildDecisionInput(batch.state, planned.material, batch.asOf, batch.sources);
  record(pass, planned, built, decide(built.input));
}

function record(pass: Pass, planned: Planned, built: BuiltInput, decision: Decision): void {
  const { batch } = pass;
  const { material } = planned;
  const { input } = built;
  const json = (value: unknown): Digest => batch.artifact(canonicalBytes(value as JsonObject));
  const promotion = json(material.promotion);
  if (planned.plan?.ok === true) {
    for (const artifact of planned.plan.artifacts) batch.artifact(artifact.bytes);
    if (planned.plan.plan.runs !== null) json(planned.plan.plan.runs);
  }
  if (planned.lock !== null) json(planned.lock);
  for (const file of planned.files) batch.artifact(file.bytes);
  const configuration = input.operation === 'promote' ? planned.configuration : null;
  const members = promotionMembers(batch.state, { material, built, decision }, {
    input: json(input), promotion, plan: material.plan === null ? null : json(material.plan), configuration: configuration === null ? null : json(configuration),
    commits: material.commits.map(({ commit, raw, touched }) => ({ commit, artifact: batch.artifact(raw), touched })),
  });
  batch.add({ type: 'promotion-decision', predicate: { ...members, strangers: 0, artifacts: decision.outcome === 'allow' ? allowArtifacts(pass, planned, input, decision) : [] } });
}

/** The generated artifacts of DESIGN §8; they derive from the decision and go into the same commit. */
function allowArtifacts(pass: Pass, planned: Planned, input: DecisionInput, decision: Decision): PromotionDecisionPredicate['artifacts'] {
  const { batch } = pass;
  const store = (name: string, bytes: Uint8Array): { name: string; digest: Digest } => ({ name, digest: batch.artifact(bytes) });
  const list = planned.plan?.ok === true ? planned.plan.artifacts.map(({ name, digest }) => ({ name, digest })) : [];
  const evidence = canonicalBytes({ type: 'stella/release-evidence/v1', input, decision } as unknown as JsonObject);
  const runs = planned.material.plan?.runs ?? null;
  const stickers = [];
  if (runs !== null) stickers.push(store(STICKER, stickerFor(runs, input, decision, input.lock)));
  const before = input.state.runs === null ? null : readRuns(batch.lookup(input.state.runs));
  if (before !== null) stickers.push(store(PREVIOUS_STICKER, stickerFor(before, input, decision, before.lock)));
  return [...list, store(EVIDENCE_FILE, evidence), ...stickers].sort((a, b) => compareText(a.name, b.name));
}

function readRuns(bytes: Uint8Array | undefined): Runs | null {
  return bytes === undefined ? null : ((parseCanonicalJson(bytes) as Runs | undefined) ?? null);
}

/** What `status` and the API say about a subject. */
function reportState(pass: Pass, s: Subject, { promotion, derivation, isUnclear }: Asked, made: Made | null): void {
  const name = `${s.environment}/${s.application}`;
  const app = appStateOf(pass.batch.state, s.environment, s.application);
  const set = (type: 'Ready' | 'Reconciling', reason: 'Deployed' | 'Waiting' | 'Refused' | 'Running', message: string): void => {
    pass.conditions.set({ kind: 'Promotion', name, type: 'Ready', status: type === 'Ready' ? 'True' : 'False', reason, message });
  };
  const why = isUnclear ? ['nothing is promoted by itself while a file of declarations cannot be read: it may hold a Promotion for here'] : derivation === null ? [] : explainDerivation(derivation);
  if (promotion === null) return why.length === 0 ? pass.conditions.clear('Promotion', name, 'Ready') : set('Reconciling', 'Waiting', why.join(' '));
  const { openRun } = app;
  const isItsRun = openRun !== null && (made === null || isAbout(openRun, made.input));
  if (isItsRun && !openRun.fallen) return set('Reconciling', 'Running', `release ${openRun.release ?? 'none'} is being deployed`);
  if (made === null) return set('Ready', 'Deployed', [app.release === null ? 'nothing is deployed, as declared' : `release ${app.release} is deployed`, ...why].join('; '));
  const open = made.decision.gates.filter((g) => g.outcome !== 'passed');
  // What passed needs nobody; what did not names the command that would help (T20).
  const lines = explainDecision(made.decision, made.input).filter((line) => line.about === 'decision' || (line.about === 'gate' && line.outcome !== 'passed'))
    .map((line) => (line.command === null ? line.text : `${line.text} ${line.command}`));
  const verdict = open.length === 0 ? 'allowed' : lines.slice(0, 4).join('; ');
  const failed = made.decision.reasons.includes('Closed') ? (app.lastOutcome?.failures ?? []).slice(0, 3).map(failureText) : [];
  set('Reconciling', made.decision.outcome === 'refuse' ? 'Refused' : 'Waiting', [isItsRun ? `the run is stopped: ${verdict}` : verdict, ...failed].join('; '));
}

