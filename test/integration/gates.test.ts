import { afterEach, describe, expect, it } from 'vitest';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import { replayDecision } from '../../src/core/evidence/replay.ts';
import { appStateOf, type AppState } from '../../src/core/evidence/log-state.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { documentDigest, type AnyDocument, type DocumentOf, type SpecOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { readEvidence } from '../../src/reconciler/read-evidence.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, World } from '../fakes/world.ts';

let world: World;
afterEach(() => world.close());

/** An application of one component, which the same machine runs in dev. */
function application(name: string, more: Partial<SpecOf['Application']> = {}): readonly AnyDocument[] {
  return [
    doc('Application', name, { components: [`${name}-api`], deployment: { type: 'directory' }, ...more }), doc('Component', `${name}-api`, { repository: `${name}/api`, registry: 'images' }),
    doc('Target', `dev-${name}`, { type: 'directory_host', agent: 'host', environments: ['dev'], applications: [name], connection: { root: `/srv/dev-${name}` } }),
  ];
}
const gate = (name: string, spec: SpecOf['Gate']): AnyDocument => doc('Gate', name, spec);
const dev = (...gates: readonly string[]): AnyDocument => doc('Environment', 'dev', { order: 1, ...(gates.length === 0 ? {} : { gates }) });
const promotion = (name: string, release: string, more: Partial<SpecOf['Promotion']> = {}): DocumentOf<'Promotion'> => doc('Promotion', `dev/${name}`, { release, ...more });

async function open(...documents: readonly AnyDocument[]): Promise<void> {
  world = await World.create({ documents });
}

/** Releases of these applications, with a tag that the registry knows. */
function releases(...names: readonly string[]): readonly AnyDocument[] {
  return names.map((full) => {
    const [name = '', version = ''] = full.split('/');
    world.registry.put(`${name}/api:${version}`, full);
    return doc('Release', full, { components: { [name === 'shop' ? 'api' : `${name}-api`]: { tag: version } } });
  });
}

/** Only commits: passes are for the test to make. */
const commit = (...documents: readonly AnyDocument[]): Promise<CommitId> => world.commit(documents, { by: world.people.alice });
const app = async (name: string, environment = 'dev'): Promise<AppState> => appStateOf(await world.state(), environment, name);
const later = (seconds: number): void => void (world.now = new Date(world.now.getTime() + seconds * 1000));

/** A protected change with its approval by bob. */
async function change(document: AnyDocument, options: { readonly deletes?: readonly string[] } = {}): Promise<void> {
  const changes = [changeTo(await world.state(), document.kind, document.metadata.name, options.deletes === undefined ? documentDigest(document) : null)];
  const approval = await world.approval(world.people.bob, { type: 'change', digest: changeDigest(world.pin, changes), changes });
  await world.commit(options.deletes === undefined ? [document, approval] : [approval], { by: world.people.alice, ...options });
}

/** Every decision of the log about one place, each decided again from the log alone. */
async function decisions(name: string, environment = 'dev'): Promise<readonly PromotionDecisionPredicate[]> {
  const { reader } = (await world.parts()).evidence;
  const found: PromotionDecisionPredicate[] = [];
  const read = await readEvidence({ reader, openPgp }, (await world.repository.tip('stella/evidence')) as CommitId, world.pin, ({ record, before }, artifact) => {
    if (record.type !== 'promotion-decision') return;
    expect(replayDecision(before, record.header, record.predicate, { artifact, openPgp })).toEqual({ ok: true });
    if (record.predicate.environment === environment && record.predicate.application === name) found.push(record.predicate);
  });
  expect(read).toMatchObject({ ok: true });
  return found;
}
const outcomes = async (name: string, environment?: string): Promise<readonly string[]> => (await decisions(name, environment)).map(({ decision }) => [decision.outcome, ...decision.reasons].join(' '));

describe('a limit of runs', () => {
  const few = gate('few', { type: 'concurrency', most: 1, environments: ['dev'] });

  it('lets one of two begin that are decided in one pass, and the other when that has ended, without a look at the branch', async () => {
    await open(few, dev('few'), ...application('db'));
    await commit(...releases('shop/1.0', 'db/1.0'), promotion('shop', '1.0'), promotion('db', '1.0'));
    await world.pass();
    expect([(await app('db')).openRun?.release, (await app('shop')).openRun]).toEqual(['1.0', null]);
    await world.settle();
    expect([(await app('db')).release, (await app('shop')).release]).toEqual(['1.0', '1.0']);
    expect(await outcomes('shop')).toEqual(['pending TooManyRuns', 'allow']);
  });

  it('starves nobody: among those that wait, the one that was asked for first comes next, whatever its name', async () => {
    await open(few, dev('few'), ...application('aa'), ...application('mm'), ...application('zz'));
    await commit(...releases('aa/1.0', 'mm/1.0', 'mm/1.1', 'zz/1.0'), promotion('mm', '1.0'));
    // Nothing ends while the reconciler is not asked to end it.
    const stuck = world.executor.takeFinished.bind(world.executor);
    world.executor.takeFinished = () => [];
    await world.pass();
    later(60);
    await commit(promotion('zz', '1.0'));
    await world.pass();
    later(60);
    await commit(promotion('aa', '1.0'));
    await world.pass();
    expect([await outcomes('zz'), await outcomes('aa')]).toEqual([['pending TooManyRuns'], ['pending TooManyRuns']]);
    expect(await world.settle()).toBe(0);
    world.executor.takeFinished = stuck;
    await world.pass();
    expect([(await app('zz')).openRun?.release, (await app('aa')).openRun]).toEqual(['1.0', null]);
    await world.settle();
    expect([await outcomes('zz'), await outcomes('aa')]).toEqual([['pending TooManyRuns', 'allow'], ['pending TooManyRuns', 'allow']]);
  });

  it('does not take the place of a run that is open when the limit is lowered', async () => {
    await open(gate('few', { type: 'concurrency', most: 2, environments: ['dev'] }), dev('few'), ...application('db'));
    world.executor.takeFinished = () => [];
    await commit(...releases('shop/1.0', 'db/1.0'), promotion('shop', '1.0'), promotion('db', '1.0'));
    await world.settle();
    await change(gate('few', { type: 'concurrency', most: 1, environments: ['dev'] }));
    await world.settle();
    expect([(await app('db')).openRun, (await app('shop')).openRun]).toEqual([expect.objectContaining({ fallen: false }), expect.objectContaining({ fallen: false })]);
  });
});

describe('a dependency', () => {
  const needsDb = gate('needs-db', { type: 'dependency', on: [{ application: 'db', atLeast: '2.0' }] });
  const shop = doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' }, gates: ['needs-db'] });

  it('that comes to run wakes what waits for it, in the pass that records it', async () => {
    await open(needsDb, shop, ...application('db'));
    await commit(...releases('shop/1.0', 'db/1.0', 'db/2.1'), promotion('shop', '1.0'), promotion('db', '1.0'));
    await world.settle();
    expect(await outcomes('shop')).toEqual(['pending DependencyMissing', 'pending DependencyMissing']);
    await commit(promotion('db', '2.1'));
    await world.pass();
    expect((await app('db')).openRun?.release).toBe('2.1');
    await world.pass();
    expect((await app('shop')).openRun?.release).toBe('1.0');
  });

  it('that stops running in a clean state stops a run that is open', async () => {
    await open(needsDb, shop, ...application('db'));
    await commit(...releases('shop/1.0', 'db/2.0', 'db/2.1'), promotion('db', '2.0'));
    await world.settle();
    const finish = world.executor.takeFinished.bind(world.executor);
    world.executor.takeFinished = () => finish().filter(({ application: of }) => of !== 'shop');
    await commit(promotion('shop', '1.0'));
    await world.settle();
    world.executor.answer = 'Failed';
    await commit(promotion('db', '2.1'));
    await world.settle();
    expect((await app('shop')).openRun).toMatchObject({ release: '1.0', fallen: true });
    expect((await outcomes('shop')).at(-1)).toBe('pending DependencyMissing');
  });
});

describe('a window', () => {
  /** World time is Sunday, 2026-11-01, 08:00 UTC. */
  const hours = gate('hours', { type: 'window', calendar: { weekly: [{ days: ['sun'], from: '09:00', to: '10:00', timeZone: 'UTC' }] } });

  it('keeps a promotion waiting until it opens, and an allow no longer than it is open', async () => {
    await open(hours, dev('hours'));
    await commit(...releases('shop/1.0'), promotion('shop', '1.0'));
    await world.settle();
    expect(await outcomes('shop')).toEqual(['pending OutsideWindow']);
    expect((await world.reconciler()).nextDue()).toBe(Date.parse('2026-11-01T09:00:00.000Z'));
    expect(await world.settle()).toBe(0);
    later(3_600 + 600);
    await world.pass();
    expect((await app('shop')).openRun).toMatchObject({ release: '1.0', notAfter: '2026-11-01T10:00:00.000Z' });
  });

  it('that closes stops a run that is still open, like a freeze that begins', async () => {
    await open(hours, dev('hours'));
    later(3_600 + 600);
    world.executor.takeFinished = () => [];
    await commit(...releases('shop/1.0'), promotion('shop', '1.0'));
    await world.settle();
    later(3_600);
    await world.settle();
    expect((await app('shop')).openRun).toMatchObject({ fallen: true });
    expect(await outcomes('shop')).toEqual(['allow', 'pending OutsideWindow']);
  });
});

describe('a hold', () => {
  it('of a Gate stops what runs and what waits, until a quorum takes it away', async () => {
    await open(gate('handover', { type: 'concurrency', most: 5 }), dev('handover'));
    world.executor.takeFinished = () => [];
    await commit(...releases('shop/1.0'), promotion('shop', '1.0'));
    await world.settle();
    await change(gate('handover', { type: 'hold', reason: 'until ops took over' }));
    await world.settle();
    expect((await app('shop')).openRun).toMatchObject({ fallen: true });
    expect((await outcomes('shop')).at(-1)).toBe('pending Held');
  });

  it('of the Promotion keeps its approvals valid, names the same requester, and is no request of its own', async () => {
    await open();
    const [release] = releases('shop/1.0');
    await commit(release!, promotion('shop', '1.0'));
    await world.settle();
    const signed = await world.promotion('prod', '1.0', { by: world.people.alice });
    const held: AnyDocument = { ...signed, spec: { ...signed.spec, hold: 'not before the sale ends' } };
    await commit(held);
    await world.settle();
    const [first] = await decisions('shop', 'prod');
    expect(first?.decision.reasons).toEqual(['ApprovalsMissing', 'Held']);
    await commit(await world.approval(world.people.bob, { type: 'promotion', environment: 'prod', application: 'shop', digest: first!.decision.promotionDigest! }));
    await world.settle();
    // A forge squashes it: nobody signs the commit that takes the hold away, and alice's signature still covers the request.
    await world.commit([signed]);
    await world.settle();
    const all = await decisions('shop', 'prod');
    expect(all.map(({ decision }) => [decision.outcome, ...decision.reasons].join(' '))).toEqual(['pending ApprovalsMissing Held', 'pending Held', 'allow']);
    expect(new Set(all.map(({ decision }) => decision.promotionDigest)).size).toBe(1);
    expect(new Set(all.map(({ sources }) => sources.promotionDocument)).size).toBe(1);
    expect(all.map(({ sources }) => sources.intents.length)).toEqual([1, 1, 1]);
    expect((await app('shop', 'prod')).release).toBe('1.0');
  });

  it('of the Promotion that comes while its run is open stops nothing', async () => {
    await open();
    world.executor.takeFinished = () => [];
    await commit(...releases('shop/1.0'), promotion('shop', '1.0'));
    await world.settle();
    await commit(promotion('shop', '1.0', { hold: 'too late' }));
    await world.settle();
    expect((await app('shop')).openRun).toMatchObject({ fallen: false });
    expect(await outcomes('shop')).toEqual(['allow']);
  });
});

describe('an expression', () => {
  it('asks about the release as it was locked, and what cannot be answered waits', async () => {
    await open(gate('from-main', { type: 'expression', expression: 'source.branch == "main"' }), dev('from-main'));
    const built = (version: string, source: SpecOf['Release']['source']): AnyDocument => {
      const [plain] = releases(`shop/${version}`);
      return { ...plain, spec: { ...(plain as DocumentOf<'Release'>).spec, source } } as unknown as AnyDocument;
    };
    await commit(built('1.0', { repository: 'x' }), built('1.1', { branch: 'topic' }), built('1.2', { branch: 'main' }), promotion('shop', '1.0'));
    for (const version of ['1.1', '1.2']) {
      await world.settle();
      await commit(promotion('shop', version));
    }
    await world.settle();
    expect(await outcomes('shop')).toEqual(['pending ExpressionFailed', 'refuse ExpressionFailed Superseded', 'pending ExpressionFalse', 'refuse ExpressionFalse Superseded', 'allow']);
  });
});

describe('a change of a gate', () => {
  it('is judged by what is in force, and wakes what it keeps waiting', async () => {
    await open(gate('handover', { type: 'hold', reason: 'x' }), dev('handover'));
    await commit(...releases('shop/1.0'), promotion('shop', '1.0'), gate('handover', { type: 'concurrency', most: 5 }));
    await world.settle();
    // alice proposed it in the same commit: nobody entitled has approved it.
    expect(await outcomes('shop')).toEqual(['pending Held']);
    await change(gate('handover', { type: 'concurrency', most: 5 }));
    await world.settle();
    expect((await outcomes('shop')).at(-1)).toBe('allow');
  });

  it('that deletes one that is still named never comes into force', async () => {
    await open(gate('handover', { type: 'hold', reason: 'x' }), dev('handover'));
    const held = gate('handover', { type: 'hold', reason: 'x' });
    await commit(...releases('shop/1.0'), promotion('shop', '1.0'));
    await change(held, { deletes: ['gates/handover.yaml'] });
    await world.settle();
    expect(await outcomes('shop')).toEqual(['pending Held']);
    expect((await world.state()).inForce.has('Gate/handover')).toBe(true);
  });
});
