import { parseCanonicalJson } from '../model/canonical-json.ts';
import { digestOf, type Digest, type Preimage } from '../model/digest.ts';
import { documentDigest, requestDigest, type AnyDocument, type DocumentOf } from '../model/documents.ts';
import { parseInstant } from '../model/instant.ts';
import { compareText } from '../model/names.ts';
import { preimageDigest, type Clause, type Operation, type Plan, type PromotionPreimage } from '../model/preimages.ts';
import { allInForce, appStateOf, inForceOf, rootOf, type AppState, type Held, type LogState, type ObservedApproval } from '../evidence/log-state.ts';
import type { LogSources } from '../evidence/fold.ts';
import type { Derived } from '../evidence/records.ts';
import { signersOf, verifyDocumentsTogether } from '../trust/embedded-signers.ts';
import { actingFor } from '../trust/identity-token.ts';
import { findRequesters, type Requesters, type TouchingCommit } from '../trust/requesters.ts';
import { keyRingIn, type KeyRing } from '../trust/key-ring.ts';
import { clausesFor, type RuleMode } from './clauses.ts';
import { freezeFacts } from './freeze-facts.ts';
import { expressionFacts, gateFacts } from './gate-facts.ts';
import { breakGlassFacts, modesOf } from './mode.ts';
import { judgeApprovals, type ApprovalCandidate } from './judge-approvals.ts';
import type { DecisionInput, SourceFact, StateFacts } from './types.ts';

/** What a decision is made from, besides the state of the log: all of it is recorded, so the log alone replays. */
export type DecisionMaterial = {
  readonly environment: string;
  readonly application: string;
  readonly promotion: DocumentOf<'Promotion'>;
  /** null where somebody wrote the Promotion. */
  readonly derived: Derived | null;
  readonly ended: DecisionInput['ended'];
  readonly plan: Plan | null;
  readonly problems: DecisionInput['problems'];
  readonly commits: readonly TouchingCommit[];
};
export type BuiltInput = { readonly input: DecisionInput; readonly relevant: Digest; readonly requesters: Requesters; readonly candidates: readonly Digest[]; readonly preimage: PromotionPreimage | null };

/**
 * The canonical input of `decide`, from the log's state before the decision and its material. Live reconciling, `explain`
 * and `replay` build it with this one function.
 * @param sources raw approvals by digest
 * @throws ApprovalMissing
 */
export function buildDecisionInput(state: LogState, m: DecisionMaterial, asOf: string, sources: LogSources): BuiltInput {
  const app = appStateOf(state, m.environment, m.application);
  const operation: Operation = m.promotion.spec.state === 'absent' ? 'remove' : 'promote';
  const entry = operation === 'promote' ? state.locks.get(`${m.application}/${m.promotion.spec.release ?? ''}`) : undefined;
  const lock = operation === 'remove' ? null : (entry?.digest ?? null);
  const plan = m.plan === null ? null : preimageDigest(m.plan);
  const runs = m.plan?.runs == null ? null : preimageDigest(m.plan.runs);
  const environment = inForceOf(state, 'Environment', m.environment);
  const modes = modesOf(environment, m.promotion.spec.breakGlass, { previous: app.previous, wanted: { lock, runs }, asOf });
  const ways = modes.map((mode) => { const rules = clausesIn(state, m, mode); return { mode, clauses: rules, base: replacedState(state, app, { lock, plan, operation }, rules, m) }; });
  // What a run that is open was allowed under stays what it is judged by (T23).
  const { mode, clauses, base } = ways.find((way) => way.base.own) ?? ways[0] ?? failWithoutMode();
  const release = operation === 'remove' ? null : (m.promotion.spec.release ?? null);
  const freezes = freezeFacts(state, { environment: m.environment, application: m.application, release, agents: m.plan?.targets.map((t) => t.agent) ?? [] });
  const ring = keyRingIn(state, sources.openPgp);
  const requesters = findRequesters({
    logId: state.logId, promotion: m.promotion, releaseSpec: entry?.releaseSpec ?? null, spentIntents: spentFor(app, base.facts), commits: m.commits, actingFor: actingFor(state, entry?.onBehalfOf ?? null), ring,
    lockUnchanged: operation === 'promote' && lock !== null && lock === base.facts.lock, observedAt: parseInstant(state.tip?.observedAt ?? asOf) ?? 0,
  });
  const promotionDigest = base.preimage === null ? null : digestOf(base.preimage as unknown as Preimage);
  const candidates = candidatesOf(state, app.approvals, ring, sources.artifact);
  const judged = judgeApprovals({
    candidates, promotionDigest, ring, environment: m.environment, application: m.application, clauses, freezes, requesters: requesters.people, asOf,
    principals: new Map(allInForce(state, 'Principal').map((p) => [p.metadata.name, p.spec])),
  });
  const asked: Omit<DecisionInput, 'about'> = {
    type: 'stella/decision-input/v1', rules: 1, logId: state.logId, tenant: state.tenant, environment: m.environment, application: m.application, operation,
    release, attempt: m.promotion.spec.attempt ?? 1, promotion: requestDigest(m.promotion), derived: m.derived === null ? null : { from: m.derived.from, name: m.derived.name },
    ended: m.ended, lock, plan, runs, promotionDigest, problems: m.problems, state: base.facts,
    mode: mode.type, breakGlass: breakGlassFacts(state, m.environment, m.promotion.spec.breakGlass), debts: debtsOf(app, promotionDigest), clauses,
    approvers: judged.approvers, requesters: { people: requesters.people, unknown: requesters.unknown }, approvals: judged.approvals, rejected: judged.rejected,
    freezes: judged.freezes, sources: operation === 'remove' ? [] : sourcesOf(state, m, lock), gates: gateFacts(state, m, { keepsPlace: base.own }), hold: m.promotion.spec.hold ?? null,
    allowSeconds: environment?.spec.allowSeconds ?? 3600, fallBackSeconds: environment?.spec.fallBackSeconds ?? DEFAULT_FALL_BACK_SECONDS, asOf,
  };
  const input: DecisionInput = { ...asked, about: expressionFacts(asked, { plan: m.plan, lock: entry?.lock ?? null, app }) };
  return { input, relevant: relevantDigest(input), requesters, candidates: [...app.approvals].sort(compareText), preimage: base.preimage };
}

/**
 * The input without `asOf`, and without whose runs keep a gate from opening: an unchanged relevant digest writes nothing (EVIDENCE "When a decision is
 * written"), and that one run ends while another begins is no news to who waits.
 */
export function relevantDigest(input: DecisionInput): Digest {
  const { asOf: _, type: __, ...relevant } = input;
  const gates = input.gates.map((gate) => (gate.type === 'concurrency' ? { ...gate, busy: [] } : gate));
  return digestOf({ type: 'stella/relevant/v1', ...relevant, gates } as unknown as Preimage);
}

/** How long a run may fall back by itself where the environment does not say: one day. */
export const DEFAULT_FALL_BACK_SECONDS = 86_400;

function failWithoutMode(): never {
  throw new Error('a promotion is judged by at least one mode');
}

/** Unreviewed broken glass other than the one that is being decided again. */
export function debtsOf(app: Pick<AppState, 'debts' | 'openRun'>, promotionDigest: Digest | null): readonly Digest[] {
  return app.debts.map((debt) => debt.promotionDigest).filter((digest) => app.openRun === null || digest !== promotionDigest).sort(compareText);
}

function clausesIn(state: LogState, m: DecisionMaterial, mode: RuleMode): readonly Clause[] {
  const environment = inForceOf(state, 'Environment', m.environment);
  const application = inForceOf(state, 'Application', m.application);
  // Without them there is no plan either, so nothing can be allowed.
  if (environment === null || application === null) return [];
  return clausesFor({ minimums: rootOf(state).spec.minimums, environment, application, targets: m.plan?.targets.map((t) => t.name) ?? [], mode });
}

type Wanted = { readonly lock: Digest | null; readonly plan: Digest | null; readonly operation: Operation };
type Base = { /** The run that is open is its own. */ readonly own: boolean; readonly facts: StateFacts; readonly preimage: PromotionPreimage | null };

/**
 * The state that the promotion replaces. While its own run is open that is the state before the run, so that deciding
 * again gives the same promotion digest and generation (T23).
 */
function replacedState(state: LogState, app: AppState, wanted: Wanted, rules: readonly Clause[], m: DecisionMaterial): Base {
  const at = (generation: number): PromotionPreimage | null =>
    wanted.plan === null || (wanted.operation === 'promote' && wanted.lock === null)
      ? null
      : {
          type: 'stella/promotion/v1', logId: state.logId, tenant: state.tenant, environment: m.environment, application: m.application,
          generation, replaces: app.lock, replacesRuns: app.runs, lock: wanted.lock, plan: wanted.plan, rules,
        };
  const open = app.openRun;
  const before = open === null ? null : at(open.generation - 1);
  const own = open !== null && before !== null && digestOf(before as unknown as Preimage) === open.promotionDigest;
  const generation = open !== null && own ? open.generation - 1 : app.generation;
  const runs = m.plan?.runs == null ? null : preimageDigest(m.plan.runs);
  const closed = app.closed !== null && app.closed.operation === wanted.operation && app.closed.lock === wanted.lock && app.closed.runs === runs && app.closed.attempt >= (m.promotion.spec.attempt ?? 1);
  const previous = app.previous === null ? null : { lock: app.previous.lock, runs: app.previous.runs, replacedAt: app.previous.replacedAt };
  const facts = { generation, lock: app.lock, runs: app.runs, clean: app.clean, otherRunOpen: open === null || own ? null : open.promotionDigest, previous, closed };
  return { own, facts, preimage: own ? before : at(app.generation) };
}

/** The request of a run that is open is not spent for that run, though another one was decided about since. */
function spentFor({ openRun, spentIntents }: AppState, { otherRunOpen }: StateFacts): readonly Digest[] {
  return openRun === null || otherRunOpen !== null ? spentIntents : spentIntents.filter((intent) => !openRun.intents.includes(intent));
}

/** Whether nothing needs to run: the state is clean and holds this lock and these runs (TRUST "State"). */
export function isSatisfied(app: AppState, operation: Operation, lock: Digest | null, runs: Digest | null): boolean {
  if (app.openRun !== null || !app.clean) return false;
  return operation === 'remove' ? app.lock === null : lock !== null && runs !== null && app.lock === lock && app.runs === runs;
}

/** The log observed an approval whose bytes are not at hand. It may be a no, so nothing can be decided without it. */
export class ApprovalMissing extends Error {
  readonly code = 'ArtifactMissing';
}

/** Observed approvals whose signatures are verified again from their archived bytes; one that no longer verifies is not there. @throws ApprovalMissing */
export function candidatesOf(state: LogState, approvals: readonly Digest[], ring: KeyRing, artifact: LogSources['artifact']): readonly ApprovalCandidate[] {
  const read = approvals.flatMap((approval) => {
    const seen = state.approvals.get(approval);
    const bytes = seen === undefined ? undefined : artifact(seen.artifact);
    if (seen !== undefined && bytes === undefined) throw new ApprovalMissing(`the approval ${approval} is not in the log; restore the evidence branch from a clone`);
    const parsed = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as AnyDocument | undefined);
    return seen === undefined || parsed?.kind !== 'Approval' || parsed.spec.type !== 'promotion' || documentDigest(parsed) !== seen.document ? [] : [{ seen, parsed }];
  });
  verifyDocumentsTogether(read.map(({ parsed }) => parsed), ring);
  return read.flatMap(({ seen, parsed }) => candidateOf(seen, parsed, ring));
}

function candidateOf(seen: ObservedApproval, parsed: DocumentOf<'Approval'>, ring: KeyRing): readonly ApprovalCandidate[] {
  const valid = signersOf(parsed, 'stella-approval', ring).some((s) => s.fingerprint === seen.fingerprint && s.payload === seen.payload);
  // T14: the principal is who holds the key in force now, not who held it when the approval was seen.
  const holder = valid ? ring.get(seen.fingerprint)?.principal.metadata.name : undefined;
  const { action, digest, expires, despite, excepts } = parsed.spec;
  const said = { fingerprint: seen.fingerprint, document: seen.document, payload: seen.payload, action, approves: digest, expires: expires ?? null, despite: despite ?? [], excepts: excepts ?? [], observedAt: seen.observedAt };
  // What was taken back stays so, whatever became of the key since: only a new yes brings a yes back.
  if (action === 'withdraw') return [...new Set([seen.principal, holder ?? seen.principal])].map((principal) => ({ ...said, principal }));
  return holder === undefined ? [] : [{ ...said, principal: holder }];
}

/**
 * Since when this lock runs in the source, or when it began to in an earlier span that was long enough: what has soaked once
 * has soaked, so that going back does not need the environments before to go back first.
 */
function soakedSince(held: readonly Held[], lock: Digest, soakSeconds: number): string | null {
  const spans = held.filter((span) => span.lock === lock);
  const soaked = spans.find(({ from, until }) => until !== null && (parseInstant(until) ?? 0) - (parseInstant(from) ?? Number.POSITIVE_INFINITY) >= soakSeconds * 1000);
  return (soaked ?? spans.find(({ until }) => until === null))?.from ?? null;
}

export function sourcesOf(state: LogState, m: Pick<DecisionMaterial, 'environment' | 'application'>, lock: Digest | null): readonly SourceFact[] {
  const from = inForceOf(state, 'Environment', m.environment)?.spec.from ?? [];
  return from
    .map(({ environment, soakSeconds = 0 }) => {
      return { environment, soakSeconds, succeededAt: lock === null ? null : soakedSince(appStateOf(state, environment, m.application).held, lock, soakSeconds) };
    })
    .sort((a, b) => compareText(a.environment, b.environment));
}
