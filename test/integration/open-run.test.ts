import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AnyDocument, DocumentOf } from '../../src/core/model/documents.ts';
import { applyRecord } from '../../src/core/evidence/fold.ts';
import { inForceOf, initialState, rootOf, type OpenRun } from '../../src/core/evidence/log-state.ts';
import { readRecord, serviceKeys } from '../../src/core/evidence/record-codec.ts';
import { replayDecision, type ReplayResult } from '../../src/core/evidence/replay.ts';
import { Scratch } from '../contract/agent-fixture.ts';
import { documentOf, LogFixture } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

/** What becomes of a run while the branch asks for something else by now. */
const scratch = new Scratch();
afterEach(() => scratch.clean());

let log: LogFixture;
/** The run of 1.0.0 as it was opened. */
let opened: OpenRun;

beforeEach(async () => {
  log = await LogFixture.create(await scratch.folder(), { allowSeconds: 600 });
  await log.allow('1.0.0');
  opened = log.app.openRun!;
  log.lock('2.0.0');
});

const run = (): OpenRun | null => log.app.openRun;
const put = (document: object, by?: 'bob' | 'carol') => log.change(document as AnyDocument, by);
const freeze = () => put(documentOf('Freeze', 'stop', { reason: 'an incident' }));
const records = () => log.envelopes.length;

/** Closes the run as the reconciler does. */
function end(result: 'Succeeded' | 'Aborted'): void {
  const { operation, generation, promotionDigest, decision } = run()!;
  const at = log.now.toISOString();
  log.close({ environment: 'prod', application: 'shop', operation, generation, promotionDigest, decision, result, reason: result === 'Succeeded' ? 'Ok' : 'Stopped', startedAt: at, endedAt: at, steps: [], fallback: null }, []);
}

/** Every decision of the log, decided again from the log alone. */
function replayed(): readonly ReplayResult[] {
  const sources = { artifact: log.artifacts.get, openPgp };
  const results: ReplayResult[] = [];
  let state = initialState(log.root, log.pin);
  for (const envelope of log.envelopes) {
    const read = readRecord(envelope, serviceKeys(rootOf(state), 'decisions'));
    if (!read.ok) throw new Error(read.message);
    if (read.record.type === 'promotion-decision') results.push(replayDecision(state, read.record.header, read.record.predicate, sources));
    const applied = applyRecord(state, read.record, sources);
    if (!applied.ok) throw new Error(applied.message);
    state = applied.state;
  }
  return results;
}

/** Everything that the branch may say by now; none of it is what the run does. */
const LATER: readonly (readonly [string, () => Promise<unknown>])[] = [
  ['was replaced', () => log.promote({ release: '2.0.0' })],
  ['was deleted', () => log.withdraw()],
  ['asks for another attempt', () => log.promote({ release: '1.0.0', attempt: 2 })],
];

describe.each(LATER)('a run whose Promotion %s', (_what, change) => {
  beforeEach(async () => void (await change()));

  it('goes on, and nothing is said of it as long as nothing changes for it', async () => {
    const before = records();
    await log.decide();
    await log.decide();
    expect([run(), records()]).toEqual([opened, before]);
  });

  it('is stopped by a freeze', async () => {
    await freeze();
    await log.decide();
    expect(run()).toMatchObject({ fallen: true, promotionDigest: opened.promotionDigest });
  });

  it('is stopped by a rejection', async () => {
    await log.approve('carol', { action: 'reject', digest: opened.promotionDigest });
    expect(run()).toMatchObject({ fallen: true });
  });

  it('is stopped by the withdrawal of its approval, and by nobody else\'s', async () => {
    await log.approve('carol', { action: 'withdraw', digest: opened.promotionDigest });
    expect(run()).toMatchObject({ fallen: false });
    await log.approve('bob', { action: 'withdraw', digest: opened.promotionDigest });
    expect(run()).toMatchObject({ fallen: true });
  });

  it('is stopped when the key behind its approval is compromised', async () => {
    const bob = inForceOf(log.state, 'Principal', 'bob') as DocumentOf<'Principal'>;
    await put({ ...bob, spec: { ...bob.spec, keys: bob.spec.keys.map((key) => ({ ...key, status: 'compromised', since: log.now.toISOString() })) } }, 'carol');
    await log.decide();
    expect(run()).toMatchObject({ fallen: true });
  });

  it('is stopped when the rules that it was allowed under are others by now', async () => {
    const prod = inForceOf(log.state, 'Environment', 'prod') as DocumentOf<'Environment'>;
    await put({ ...prod, spec: { ...prod.spec, approvals: { people: 2, roles: [{ role: 'sre', count: 2 }] } } });
    await log.decide();
    expect(run()).toMatchObject({ fallen: true });
  });

  it('gets a new allow when its own lapses, for the same digest and generation', async () => {
    log.after(601);
    await log.decide();
    const { promotionDigest, generation, plan, promotion } = opened;
    expect(run()).toMatchObject({ promotionDigest, generation, plan, promotion, fallen: false, notAfter: new Date(log.now.getTime() + 600_000).toISOString() });
    expect(run()?.decision.seq).toBeGreaterThan(opened.decision.seq);
    const settled = records();
    await log.decide();
    expect(records()).toBe(settled);
  });

  it('ends sooner when its environment lets allows hold shorter', async () => {
    const prod = inForceOf(log.state, 'Environment', 'prod') as DocumentOf<'Environment'>;
    await put({ ...prod, spec: { ...prod.spec, allowSeconds: 60 } });
    await log.decide();
    expect(run()).toMatchObject({ fallen: false, notAfter: new Date(log.now.getTime() + 60_000).toISOString() });
  });

  it('leaves decisions that replay', async () => {
    log.after(601);
    await log.decide();
    await freeze();
    await log.decide();
    const results = replayed();
    expect(results.length).toBeGreaterThan(3);
    expect(results.filter(({ ok }) => !ok)).toEqual([]);
  });
});

describe('a promotion that replaced one whose run is open', () => {
  it('waits for the run, keeps its own requester, and is decided once the run has ended', async () => {
    const waiting = await log.promote({ release: '2.0.0' });
    expect(waiting.decision).toMatchObject({ outcome: 'pending', reasons: expect.arrayContaining(['RunOpen']) });
    log.after(601);
    await log.decide(); // the run's allow is decided again in between
    expect(log.app.lastDecision).toMatchObject({ promotion: waiting.sources.promotionDocument, intents: waiting.sources.intents });
    expect(waiting.sources.intents.filter((intent) => log.app.spentIntents.includes(intent))).toEqual([]);
    end('Succeeded');
    expect(log.app).toMatchObject({ openRun: null, release: '1.0.0', clean: true });
    await log.decide();
    expect((await log.approve('bob')).decision).toMatchObject({ outcome: 'allow', generation: 2 });
    expect(run()).toMatchObject({ release: '2.0.0', generation: 2 });
  });

  it('is put back before the run ends: the run is its own again', async () => {
    await log.promote({ release: '2.0.0' });
    await log.promote({ release: '1.0.0', attempt: 1 });
    expect(log.lastDecision()).toMatchObject({ release: '2.0.0', decision: { outcome: 'refuse', reasons: expect.arrayContaining(['Superseded']) } });
    expect(run()).toEqual(opened);
    await freeze();
    await log.decide();
    expect(run()).toMatchObject({ fallen: true });
  });
});

describe('a run that was stopped', () => {
  it('and whose Promotion is deleted ends first, and then the promotion', async () => {
    await freeze();
    await log.decide();
    await log.withdraw();
    expect(log.lastDecision().sources.ended).toBeNull();
    end('Aborted');
    await log.decide();
    expect(log.lastDecision()).toMatchObject({ sources: { ended: 'Withdrawn' }, decision: { outcome: 'refuse' } });
  });
});
