import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decide } from '../../src/core/decision/decide.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import { explainSituation, explainSubject, situationArtifacts, situationCode, situationHeadline, type SituationQuestion } from '../../src/core/proposal/situation.ts';
import { canonicalBytes, parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import type { Runs } from '../../src/core/model/preimages.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { Scratch } from '../contract/agent-fixture.ts';
import { documentOf, LogFixture, SUBJECT } from '../fakes/log-fixture.ts';

/** How one place stands, told from a real log. */
const scratch = new Scratch();
afterEach(() => scratch.clean());

let log: LogFixture;
beforeEach(async () => {
  log = await LogFixture.create(await scratch.folder());
});

const ask = (more: Partial<SituationQuestion> = {}): SituationQuestion => ({ state: log.state, ...SUBJECT, artifact: log.artifacts.get, ...more });
const codes = (more: Partial<SituationQuestion> = {}): readonly unknown[] => explainSituation(ask(more)).map(({ code }) => code);
const text = (code: string, more: Partial<SituationQuestion> = {}): string => explainSituation(ask(more)).find((line) => line.code === code)?.text ?? '';
const last = (): number => log.envelopes.length - 1;

function end(result: 'Succeeded' | 'Failed' | 'Aborted', fallback: 'Succeeded' | 'Failed' | null = null): void {
  const { operation, generation, promotionDigest, decision } = log.app.openRun!;
  const at = log.now.toISOString();
  const target = { target: 'web-1', agent: 'anna', result, code: result === 'Failed' ? 'Unhealthy' : 'Ok', message: 'no answer', try: 1, receipt: null };
  const reason = result === 'Succeeded' ? 'Ok' : result === 'Failed' ? 'TargetFailed' : 'Stopped';
  log.close({ ...SUBJECT, operation, generation, promotionDigest, decision, result, reason, startedAt: at, endedAt: at, steps: [{ name: 'deploy', result, targets: [target] }], fallback }, []);
}

async function run(version: string, result: 'Succeeded' | 'Failed' | 'Aborted' = 'Succeeded', fallback: 'Succeeded' | 'Failed' | null = null, attempt = 1): Promise<void> {
  await log.allow(version, attempt);
  end(result, fallback);
}

describe('what is told of a place', () => {
  it('that nothing was ever deployed there', () => {
    expect(codes()).toEqual(['NeverDeployed']);
    expect(situationCode(ask())).toBe('NotDecided');
  });

  it('what a promotion waits for, with people counted, in the words of a commit status', async () => {
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0' });
    expect(situationCode(ask())).toBe('Waiting');
    expect(situationHeadline(ask(), 'merged')).toBe('merged, waiting for sre (0 of 1 approved)');
    expect(codes()).toEqual(['NeverDeployed', 'Waiting']);
  });

  it('that it is refused, and why', async () => {
    await log.promote({ release: '9.9.9' });
    expect(situationCode(ask())).toBe('Refused');
    expect(situationHeadline(ask(), 'merged')).toContain('merged, refused');
  });

  it('that a run is open, and which record opened it', async () => {
    await log.allow('1.0.0');
    expect(situationCode(ask())).toBe('Deploying');
    expect(situationHeadline(ask(), 'merged')).toBe(`deploying 1.0.0 (record ${last()})`);
  });

  it('that a run whose allow has fallen begins nothing more', async () => {
    await log.allow('1.0.0');
    await log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument);
    await log.decide();
    expect(codes()).toContain('Stopping');
    expect(situationCode(ask())).toBe('Stopping');
  });

  it('what runs, since when, by which records, who approved and who asked', async () => {
    await run('1.0.0');
    expect(codes()).toEqual(['Deployed']);
    expect(text('Deployed')).toBe(`prod/shop runs 1.0.0 since 2026-05-04T12:00:00.000Z: allowed by record ${last() - 1}, deployed by record ${last()}. Approved by bob; asked for by alice.`);
    expect(situationHeadline(ask(), 'merged')).toBe(`deployed by record ${last()}`);
  });

  it('less where the artifacts are not at hand, and nothing that is wrong', async () => {
    await run('1.0.0');
    expect(situationArtifacts(log.state, 'prod', 'shop')).toContain(log.app.standing?.input);
    expect(explainSituation(ask({ artifact: () => undefined })).map(({ text: said }) => said)).toEqual([expect.not.stringContaining('bob')]);
  });

  it('that nothing needs to happen where it runs already', async () => {
    await run('1.0.0');
    expect(codes({ isSatisfied: true })).toEqual(['Deployed', 'Skipped']);
    expect(situationHeadline(ask({ isSatisfied: true }), 'merged')).toBe('nothing to do: 1.0.0 runs already, as declared');
  });

  it('that it went back to what had run before', async () => {
    await run('1.0.0');
    await run('2.0.0');
    await run('1.0.0', 'Succeeded', null, 2);
    expect(text('RolledBack')).toContain('2.0.0');
  });

  it('that the same release was deployed again because what ran was not clean', async () => {
    await run('1.0.0');
    await run('2.0.0', 'Failed');
    expect(codes()).toEqual(expect.arrayContaining(['NotClean', 'RunFailed']));
    await run('1.0.0', 'Succeeded', null, 2);
    expect(text('Redeployed')).toContain('not clean');
  });

  it('which configuration changed where the same release was deployed again, by name and without a value', async () => {
    await run('1.0.0');
    const { standing, runs, lock } = log.app;
    const input = parseCanonicalJson(log.stored.get(standing!.input)!) as unknown as DecisionInput;
    const now = parseCanonicalJson(log.stored.get(runs!)!) as unknown as Runs;
    const before: Runs = { ...now, variables: { ...now.variables, LOG_LEVEL: 'hunter2' }, secrets: { TOKEN: 'file:token' } };
    const was = digestOfBytes('runs before');
    const replaced = new Map<string, object>([[standing!.input, { ...input, state: { ...input.state, lock, runs: was } }], [was, before]]);
    const artifact = (digest: Digest): Uint8Array | undefined => (replaced.has(digest) ? canonicalBytes(replaced.get(digest) as never) : log.artifacts.get(digest));
    expect(text('Redeployed', { artifact })).toBe(`Record ${last() - 1} deployed the same release again, because its configuration changed: variable LOG_LEVEL, secret TOKEN.`);
  });

  it('what a run failed on, and how it is tried again', async () => {
    await run('1.0.0', 'Failed');
    await log.decide();
    const line = explainSituation(ask()).find(({ code }) => code === 'RunFailed');
    expect(line).toMatchObject({ command: 'stella retry prod/shop' });
    expect(line?.text).toContain('web-1: Unhealthy: no answer');
    expect(situationCode(ask())).toBe('RunFailed');
  });

  it('that it fell back, and to what', async () => {
    await run('1.0.0');
    await run('2.0.0', 'Failed', 'Succeeded');
    expect(situationCode(ask())).toBe('FellBack');
    expect(text('FellBack')).toContain('fell back to 1.0.0');
    expect(codes()).not.toContain('NotClean');
  });

  it('that a run was stopped', async () => {
    await run('1.0.0', 'Aborted');
    expect(codes()).toContain('RunAborted');
  });

  it('that a promotion was superseded before it ran, and by what', async () => {
    log.lock('1.0.0');
    log.lock('2.0.0');
    const first = await log.promote({ release: '1.0.0' });
    await log.promote({ release: '2.0.0' });
    const question = { promotion: first.sources.promotionDocument };
    expect(situationCode(ask(question))).toBe('Superseded');
    expect(situationHeadline(ask(question), 'merged')).toBe(`superseded by 2.0.0 (record ${last()})`);
  });

  it('that a promotion was taken back before it ran', async () => {
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0' });
    await log.withdraw();
    expect(codes()).toEqual(['NeverDeployed', 'Withdrawn']);
  });

  it('that what it asks about ran once and was replaced since', async () => {
    const first = await log.allow('1.0.0');
    end('Succeeded');
    const seq = last();
    await run('2.0.0');
    const history = { generation: first.decision.generation, outcome: { seq, result: 'Succeeded' } };
    expect(text('Replaced', { promotion: first.sources.promotionDocument, history })).toContain('2.0.0');
  });

  it('that it was removed', async () => {
    await run('1.0.0');
    await log.promote({ state: 'absent' });
    await log.approve('bob');
    end('Succeeded');
    expect(codes()).toEqual(['Removed']);
    expect(situationHeadline(ask())).toContain('removed by record');
  });

  it('before the decision, gate by gate', async () => {
    log.lock('1.0.0');
    const { input, decision } = await log.promote({ release: '1.0.0' });
    const read = parseCanonicalJson(log.stored.get(input)!) as unknown as DecisionInput;
    const lines = explainSubject(ask({ decided: { decision, input: read } }));
    expect(lines.map(({ about }) => about).slice(0, 2)).toEqual(['situation', 'decision']);
    expect(decide(read).outcome).toBe('pending');
  });

  it('in a headline that no forge cuts, and in which no name moves a cursor', async () => {
    await log.promote({ release: '1.0.0' });
    const held = [{ gate: 'approvals' as const, subject: 's', outcome: 'pending' as const, code: 'ApprovalsMissing' as const, detail: { have: 0, need: 1, missingRoles: ['\u001b[2J'.repeat(50)] }, opensAt: null }];
    const state = { ...log.state, states: log.state.states.set('prod/shop', { ...log.app, lastDecision: { ...log.app.lastDecision!, held, outcome: 'pending' } }) };
    const headline = situationHeadline({ ...ask(), state }, 'merged');
    expect([...headline].length).toBeLessThanOrEqual(140);
    expect(headline).not.toContain('\u001b');
  });
});
