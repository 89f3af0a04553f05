import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { explainDecision, renderExplanation, type ExplainLine } from '../../src/core/decision/explain.ts';
import { decide } from '../../src/core/decision/decide.ts';
import type { Decision, DecisionInput, GateName, ReasonCode } from '../../src/core/decision/types.ts';
import { parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { prose } from '../../src/core/proposal/markdown.ts';
import { wordsOf, type Notification } from '../../src/core/proposal/notification.ts';
import { renderMarkdown } from '../../src/core/proposal/render-markdown.ts';
import type { ProposalPlan } from '../../src/core/proposal/plan-model.ts';
import { explainDocument } from '../../src/core/proposal/situation-document.ts';
import { explainSubject, type SituationQuestion } from '../../src/core/proposal/situation.ts';
import { inputOf } from '../core/decision/inputs.ts';
import { Scratch } from '../contract/agent-fixture.ts';
import { documentOf, LogFixture, SUBJECT } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

/** One set of words: what the API gives as JSON is, sentence by sentence, what the command line prints, what a comment shows and what a notification says. */
const scratch = new Scratch();
afterEach(() => scratch.clean());

let log: LogFixture;
beforeEach(async () => {
  log = await LogFixture.create(await scratch.folder());
});

const ask = (more: Partial<SituationQuestion> = {}): SituationQuestion => ({ state: log.state, ...SUBJECT, artifact: log.artifacts.get, ...more });
const decided = (): NonNullable<SituationQuestion['decided']> => {
  const { decision, input } = log.lastDecision();
  return { decision, input: parseCanonicalJson(log.stored.get(input)!) as unknown as DecisionInput };
};

function end(result: 'Succeeded' | 'Failed' | 'Aborted', fallback: 'Succeeded' | null = null): void {
  const { operation, generation, promotionDigest, decision } = log.app.openRun!;
  const at = log.now.toISOString();
  log.close({ ...SUBJECT, operation, generation, promotionDigest, decision, result, reason: result === 'Succeeded' ? 'Ok' : 'TargetFailed', startedAt: at, endedAt: at, steps: [], fallback }, []);
}
async function run(version: string, attempt = 1, result: 'Succeeded' | 'Failed' | 'Aborted' = 'Succeeded', fallback: 'Succeeded' | null = null): Promise<void> {
  await log.allow(version, attempt);
  end(result, fallback);
}
async function replaced(): Promise<SituationQuestion> {
  log.lock('1.0.0');
  log.lock('2.0.0');
  const first = await log.promote({ release: '1.0.0' });
  await log.promote({ release: '2.0.0' });
  return ask({ promotion: first.sources.promotionDocument });
}
const document = (kind: 'Environment' | 'Freeze', name: string): readonly ExplainLine[] => explainDocument({ state: log.state, desired: null, openPgp }, kind, name);

/** Which line a situation must have, and how it comes about. */
const SITUATIONS: readonly (readonly [code: string, make: () => Promise<readonly ExplainLine[]>])[] = [
  ['NeverDeployed', async () => explainSubject(ask())],
  ['ApprovalsMissing', async () => { log.lock('1.0.0'); await log.promote({ release: '1.0.0' }); return explainSubject(ask({ decided: decided() })); }],
  ['Waiting', async () => { log.lock('1.0.0'); await log.promote({ release: '1.0.0' }); return explainSubject(ask()); }],
  ['Refused', async () => { await log.promote({ release: '9.9.9' }); return explainSubject(ask()); }],
  ['Deploying', async () => { await log.allow('1.0.0'); return explainSubject(ask()); }],
  ['Ok', async () => { await log.allow('1.0.0'); return explainSubject(ask({ decided: decided() })); }],
  ['Stopping', async () => { await log.allow('1.0.0'); await log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument); await log.decide(); return explainSubject(ask()); }],
  ['Deployed', async () => { await run('1.0.0'); return explainSubject(ask()); }],
  ['Skipped', async () => { await run('1.0.0'); return explainSubject(ask({ isSatisfied: true })); }],
  ['Redeployed', async () => { await run('1.0.0'); await run('2.0.0', 1, 'Failed'); await run('1.0.0', 2); return explainSubject(ask()); }],
  ['RolledBack', async () => { await run('1.0.0'); await run('2.0.0'); await run('1.0.0', 2); return explainSubject(ask()); }],
  ['RunFailed', async () => { await run('1.0.0', 1, 'Failed'); return explainSubject(ask()); }],
  ['FellBack', async () => { await run('1.0.0'); await run('2.0.0', 1, 'Failed', 'Succeeded'); return explainSubject(ask()); }],
  ['NotClean', async () => { await run('1.0.0'); await run('2.0.0', 1, 'Failed'); return explainSubject(ask()); }],
  ['RunAborted', async () => { await run('1.0.0', 1, 'Aborted'); return explainSubject(ask()); }],
  ['Superseded', async () => explainSubject(await replaced())],
  ['Withdrawn', async () => { log.lock('1.0.0'); await log.promote({ release: '1.0.0' }); await log.withdraw(); return explainSubject(ask()); }],
  ['Removed', async () => { await run('1.0.0'); await log.promote({ state: 'absent' }); await log.approve('bob'); end('Succeeded'); return explainSubject(ask()); }],
  ['InForce', async () => { await log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument); return [...document('Freeze', 'stop'), ...document('Environment', 'prod')]; }],
  ['NotInForce', async () => document('Freeze', 'none')],
];

function expectSameWords(lines: readonly ExplainLine[]): void {
  const printed = renderExplanation(lines);
  const note: Notification = { type: 'stella/notification/v1', id: 'i', event: 'waiting', log: log.pin, environment: 'prod', application: 'shop', release: null, record: null, at: 'now', headline: 'h', lines: lines.map(({ text }) => text) };
  const plan = { promotions: [{ ...EMPTY, lines }] } as unknown as ProposalPlan;
  const comment = renderMarkdown({ ...NO_PLAN, ...plan }, { maxChars: 1_000_000, folds: 'details' });
  for (const { text, about } of JSON.parse(JSON.stringify(lines)) as readonly ExplainLine[]) {
    expect(text).toMatch(/\p{L}/u);
    expect(text).not.toMatch(/undefined|null|\[object/);
    expect(printed).toContain(text);
    expect(wordsOf({}, note).text).toContain(text);
    // A comment says the verdict in its title.
    if (about !== 'decision') expect(comment).toContain(prose(text));
  }
}

const EMPTY = {
  ...SUBJECT, effect: 'deploy', release: { from: null, to: '1.0.0' }, lock: { from: null, to: null }, components: [], files: [], variables: [], secrets: [], targets: { all: [], added: [], removed: [] }, strategy: null, notes: [],
  promotionDigest: null, decision: null, couldPassAt: null,
};
const NO_PLAN = {
  type: 'stella/proposal-plan/v1', candidate: 'c'.repeat(40), target: { ref: 'refs/heads/main', commit: 'd'.repeat(40) }, logSize: 1, asOf: '2026-05-04T12:00:00.000Z', outcome: 'changes', promotions: [], protectedChanges: [], releases: [], findings: [], nextChangeAt: null,
};

describe('an explanation has the same words everywhere', () => {
  it.each(SITUATIONS)('of %s', async (code, make) => {
    const lines = await make();
    expect(lines.map((line) => line.code)).toContain(code);
    expectSameWords(lines);
  });

  it('of every reason, whichever gate gives it', () => {
    const codes: Record<ReasonCode, true> = {
      Ok: true, NotRequired: true, ApprovalsMissing: true, ApprovalsRejected: true, RequesterUnknown: true, Frozen: true, ReleaseSuspended: true, AgentSuspended: true, Excepted: true, SourceMissing: true, SourceNotDeployed: true,
      Soaking: true, BreakGlassNotAllowed: true, BreakGlassExpired: true, Skipped: true, ReviewMissing: true, RunOpen: true, Closed: true, Superseded: true, Withdrawn: true, LockMissing: true, PlanInvalid: true, NothingToRemove: true,
      InputInvalid: true, OutsideWindow: true, DependencyMissing: true, TooManyRuns: true, Held: true, ExpressionFalse: true, ExpressionFailed: true, GateMissing: true,
    };
    const gates = Object.keys(codes).map((code) => ({ gate: 'approvals' as GateName, subject: 'one', outcome: 'pending' as const, code: code as ReasonCode, detail: {}, opensAt: null }));
    const decision: Decision = { ...decide(inputOf()), gates };
    expectSameWords(explainDecision(decision, inputOf()));
  });
});
