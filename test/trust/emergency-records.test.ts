import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { DocumentOf, Rewrite, SpecOf } from '../../src/core/model/documents.ts';
import { rewriteDigest } from '../../src/core/model/preimages.ts';
import { TipCheck } from '../../src/cli/check-tips.ts';
import type { ObservedYes, RecordBody } from '../../src/core/evidence/records.ts';
import { LogBatchError } from '../../src/reconciler/log-batch.ts';
import { documentOf, LogFixture, type Person } from '../fakes/log-fixture.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { deployStep, World } from '../fakes/world.ts';
import { attack, verdict, type Verdict } from './attack.ts';

/** Records that a server, or a thief of its keys, signs though no quorum stands behind them: the fold of everybody refuses them. */

let folder: string;
let log: LogFixture;
beforeAll(async () => {
  folder = await createTemporaryFolder();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const one = { people: 1, roles: [{ role: 'sre', count: 1 }] };
const ENVIRONMENT: Partial<SpecOf['Environment']> = { breakGlass: { ...one, skip: ['approvals'], withinSeconds: 86_400, review: one } };
let made = 0;
beforeEach(async () => {
  log = await LogFixture.create(`${folder}/${++made}`, { environment: ENVIRONMENT, minimums: { breakGlass: { people: 1 } } });
});

/** What the fold says to one more record. */
function folded(body: RecordBody): Verdict {
  try {
    void log.push((batch) => void batch.add(body));
    return verdict(null);
  } catch (cause) {
    if (!(cause instanceof LogBatchError)) throw cause;
    return verdict(cause.message.split(':', 1)[0] ?? cause.code);
  }
}

const REWRITE: Rewrite = { ref: 'refs/heads/main', from: 'c'.repeat(40) as CommitId, to: 'd'.repeat(40) as CommitId };

async function observed(by: Person, spec: Partial<SpecOf['Approval']> & Pick<SpecOf['Approval'], 'type' | 'digest'>): Promise<ObservedYes> {
  const document = await log.signed(documentOf('Approval', `${by}-${log.state.size}`, { action: 'approve', nonce: `${log.state.size}`.padStart(32, '0'), ...spec }), by);
  log.observe(document);
  const [artifact, seen] = [...log.state.approvals.entries()].find(([, approval]) => approval.seq === log.state.size - 1) ?? [];
  if (artifact === undefined || seen === undefined) throw new Error('the approval was not observed');
  return { principal: by, document: seen.document, artifact: artifact as ObservedYes['artifact'], observedAt: seen.observedAt };
}

const accepted = (rewrite: Rewrite): Promise<ObservedYes> => observed('bob', { type: 'rewrite', digest: rewriteDigest(log.pin, rewrite), rewrite });
const anchor = (rewrite: Rewrite, approvals: readonly ObservedYes[]): RecordBody => ({ type: 'anchor', predicate: { basis: 'rewrite', rewrite, digest: rewriteDigest(log.pin, rewrite), approvals } });

describe('an anchor', () => {
  attack('record of a rewrite that nobody accepted', {
    rules: ['T25'], expects: 'RewriteNotAccepted',
    attempt: () => folded(anchor(REWRITE, [])),
    twin: async () => folded(anchor(REWRITE, [await accepted(REWRITE)])),
  });

  attack('record of a rewrite with the acceptance of another', {
    rules: ['T25'], expects: 'RewriteNotAccepted',
    attempt: async () => folded(anchor({ ...REWRITE, to: 'e'.repeat(40) as CommitId }, [await accepted(REWRITE)])),
    twin: async () => folded(anchor(REWRITE, [await accepted(REWRITE)])),
  });

  attack('record of a rewrite that does not start at the last tip', {
    rules: ['T25'], expects: 'RewriteNotAccepted',
    attempt: async () => {
      const elsewhere = { ...REWRITE, from: 'e'.repeat(40) as CommitId };
      return folded(anchor(elsewhere, [await accepted(elsewhere)]));
    },
    twin: async () => folded(anchor(REWRITE, [await accepted(REWRITE)])),
  });

  it('spends what it rests on', async () => {
    const yes = await accepted(REWRITE);
    expect(folded(anchor(REWRITE, [yes])).accepted).toBe(true);
    expect(folded(anchor(REWRITE, [yes])).codes).toEqual(['RewriteNotAccepted']);
  });
});

describe('a review', () => {
  async function owed(by: Person | null = 'alice', approvers: readonly Person[] = ['bob']): Promise<DocumentOf<'Approval'>['spec']['digest']> {
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0', breakGlass: { skip: ['approvals'], reason: 'shop is down', expires: new Date(log.now.getTime() + 3_600_000).toISOString() } }, by);
    for (const approver of approvers) await log.approve(approver);
    const run = log.app.openRun;
    if (run === null) throw new Error('no run is open');
    const at = log.now.toISOString();
    const { operation, generation, promotionDigest, decision } = run;
    log.close({ environment: 'prod', application: 'shop', operation, generation, promotionDigest, decision, result: 'Succeeded', reason: 'Ok', startedAt: at, endedAt: at, steps: [deployStep(run.targets, 'Succeeded')], fallback: null }, []);
    expect(log.app.debts).toHaveLength(1);
    return promotionDigest;
  }

  async function reviewed(by: Person): Promise<Verdict> {
    const digest = await owed();
    const approval = await observed(by, { type: 'review', digest, environment: 'prod', application: 'shop' });
    return folded({ type: 'review', predicate: { environment: 'prod', application: 'shop', promotionDigest: digest, approvals: [approval] } });
  }

  attack('record of a review by who approved', { rules: ['T27'], expects: 'ReviewNotMet', attempt: () => reviewed('bob'), twin: () => reviewed('carol') });
  attack('record of a review by who asked', { rules: ['T19', 'T27'], expects: 'ReviewNotMet', attempt: () => reviewed('alice'), twin: () => reviewed('carol') });
  attack('record of a review by somebody without the role', { rules: ['T21', 'T27'], expects: 'ReviewNotMet', attempt: () => reviewed('mallory'), twin: () => reviewed('carol') });

  /** Nobody can tell who asked, so two had to agree; it may be mallory who asked. */
  async function askedByNobody(reviewers: readonly Person[]): Promise<Verdict> {
    const more = { unknownRequester: 'one-more' as const };
    log = await LogFixture.create(`${folder}/${++made}`, { environment: { breakGlass: { ...one, ...more, skip: ['approvals'], withinSeconds: 86_400, review: { people: 1 } } }, minimums: { breakGlass: { people: 1, ...more } } });
    const digest = await owed(null, ['bob', 'carol']);
    const approvals: ObservedYes[] = [];
    for (const by of reviewers) approvals.push(await observed(by, { type: 'review', digest, environment: 'prod', application: 'shop' }));
    return folded({ type: 'review', predicate: { environment: 'prod', application: 'shop', promotionDigest: digest, approvals } });
  }

  attack('record of a review by who may have asked, where nobody can tell who did', {
    rules: ['T20', 'T27'], expects: 'ReviewNotMet', attempt: () => askedByNobody(['mallory']), twin: () => askedByNobody(['alice', 'mallory']),
  });
});

describe('tips in a log', () => {
  it('that do not descend from each other are found by a clone that has the commits', async () => {
    const world = await World.create();
    try {
      const { repository, people } = world;
      const first = await world.commit([], { by: people.alice, files: { a: '1' } });
      const second = await world.commit([], { by: people.alice, files: { a: '2' } });
      const other = await repository.commit({ branch: 'other', parents: [first], files: { a: '3' }, sshKey: people.alice });
      await world.settle();
      const { reader } = await world.parts();
      await repository.setBranch('main', other);
      await world.pass();
      const visits = (...tips: readonly CommitId[]) => tips.map((commit, seq) => ({ record: { header: { seq }, type: 'observation', predicate: { type: 'tip', ref: 'refs/heads/main', commit } } }) as unknown as Parameters<TipCheck['visit']>[0]);
      const faultOf = async (steps: readonly Parameters<TipCheck['visit']>[0][]) => {
        const check = new TipCheck();
        for (const step of steps) check.visit(step);
        return (await check.against(reader)).fault?.code ?? null;
      };
      expect(await faultOf(visits(first, second))).toBeNull();
      expect(await faultOf(visits(first, second, other))).toBe('RewriteNotAccepted');
      const anchored = { record: { header: { seq: 2 }, type: 'anchor', predicate: { rewrite: { ref: 'refs/heads/main', from: second, to: other } } } } as unknown as Parameters<TipCheck['visit']>[0];
      expect(await faultOf([...visits(first, second), anchored, ...visits(other)])).toBeNull();
    } finally {
      await world.close();
    }
  });
});
