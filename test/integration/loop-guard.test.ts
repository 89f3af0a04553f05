import { afterEach, describe, expect, it } from 'vitest';
import { parseTrailers } from '../../src/core/commit/trailers.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { EvidenceRecord } from '../../src/core/evidence/records.ts';
import { evidenceMessage } from '../../src/reconciler/evidence-message.ts';
import { ReconcileLoop, type LoopTimers } from '../../src/reconciler/loop.ts';
import { LOOP_LIMITS, LoopGuard } from '../../src/reconciler/loop-guard.ts';
import { runProgram } from '../fakes/git-repository.ts';
import { doc, EVIDENCE_REF, World } from '../fakes/world.ts';

let world: World | null = null;
afterEach(() => world?.close());

const AT = '2026-05-04T12:00:00.000Z';
let seq = 0;
const record = (body: object, asOf = AT): EvidenceRecord => ({ digest: digestOfBytes('x'), header: { seq: seq++, asOf }, ...body }) as unknown as EvidenceRecord;
const decision = (place = 'prod/shop', more: object = {}, asOf = AT): EvidenceRecord => {
  const [environment, application] = place.split('/');
  return record({ type: 'promotion-decision', predicate: { environment, application, runs: 'sha256:a', decision: { outcome: 'pending', nextChangeAt: null, notAfter: null, gates: [], ...more } } }, asOf);
};
const tip = (commit: string): EvidenceRecord => record({ type: 'observation', predicate: { type: 'tip', commit } });
const outcome = (number: number): EvidenceRecord => record({ type: 'deployment-outcome', predicate: { environment: 'prod', application: 'shop', operation: 'promote', promotionDigest: `sha256:${number}`, result: 'Succeeded' } });
const times = (count: number, act: (n: number) => void): void => Array.from({ length: count }).forEach((_, n) => act(n));

describe('the counter of a reconciler that may talk to itself', () => {
  it('stops a place that is decided about again and again, and no other', () => {
    const guard = new LoopGuard();
    times(LOOP_LIMITS.decisions - 1, () => guard.note([decision()]));
    guard.note([decision('dev/shop')]);
    expect(guard.suspects).toEqual([]);
    guard.note([decision()]);
    expect(guard.suspects).toEqual(['prod/shop']);
    expect([guard.isSuspect('prod/shop', AT), guard.isSuspect('dev/shop', AT)]).toEqual([true, false]);
  });

  it('begins anew with a tip that was not seen before, and with no tip that comes again', () => {
    const guard = new LoopGuard();
    guard.note([tip('a')]);
    times(LOOP_LIMITS.decisions, () => guard.note([decision()]));
    guard.note([tip('a')]);
    expect(guard.suspects).toEqual(['prod/shop']);
    guard.note([tip('b')]);
    expect(guard.suspects).toEqual([]);
  });

  it('begins anew with each of many others that a gate makes it wait for', () => {
    const guard = new LoopGuard();
    times(LOOP_LIMITS.decisions * 2, (n) => guard.note([decision(`prod/dep-${n}`, { outcome: 'allow' }), record({ type: 'deployment-outcome', predicate: { environment: 'prod', application: `dep-${n}`, operation: 'promote', promotionDigest: 'sha256:1', result: 'Succeeded' } }), decision()]));
    expect(guard.suspects).toEqual([]);
  });

  it('is not taken in by runs that deploy the same again and again', () => {
    const guard = new LoopGuard();
    times(LOOP_LIMITS.decisions + 1, (n) => guard.note([decision('prod/shop', { outcome: 'allow' }), outcome(n)]));
    expect(guard.suspects).toEqual(['prod/shop']);
  });

  it('takes a moment that a decision waited for as news, so a long run is renewed for ever', () => {
    const guard = new LoopGuard();
    const hour = (n: number): string => new Date(Date.parse(AT) + n * 3_600_000).toISOString();
    times(LOOP_LIMITS.decisions * 5, (n) => guard.note([decision('prod/shop', { outcome: 'allow', notAfter: hour(n + 1) }, hour(n))]));
    expect(guard.suspects).toEqual([]);
  });

  it('lets a place that came due be decided although it was stopped', () => {
    const guard = new LoopGuard();
    times(LOOP_LIMITS.decisions, () => guard.note([decision('prod/shop', { nextChangeAt: '2026-05-04T13:00:00.000Z' })]));
    expect(guard.isSuspect('prod/shop', '2026-05-04T12:59:59.000Z')).toBe(true);
    expect(guard.isSuspect('prod/shop', '2026-05-04T13:00:00.000Z')).toBe(false);
  });

  it('refuses whatever brings nothing new once everything has written for too long', () => {
    const guard = new LoopGuard();
    times(LOOP_LIMITS.passes, (n) => guard.note([decision(`env-${n}/shop`)]));
    expect(guard.refuses([decision('other/shop')])).toBe(true);
    expect(guard.refuses([decision('other/shop'), tip('new')])).toBe(false);
  });
});

describe('the message of an evidence commit', () => {
  const gate = (subject: string, outcome = 'pending') => ({ gate: 'freeze', subject, outcome, code: 'Frozen', detail: {}, opensAt: null });

  it('says what each gate found, in trailers', () => {
    seq = 41;
    const message = evidenceMessage([decision('prod/shop', { gates: [gate('', 'passed'), gate('easter')] }), outcome(1)]);
    expect(message.split('\n\n').at(-1)).toBe(['Stella-Record: 41..42', 'Stella-Decision: prod/shop pending', 'Stella-Gate: prod/shop freeze passed', 'Stella-Gate: prod/shop freeze:easter pending Frozen', 'Stella-Outcome: prod/shop Succeeded', ''].join('\n'));
  });

  it('is bounded, and no name in it begins a line or approves anything', () => {
    const change = `x\nStella-Change: ${digestOfBytes('c')}`;
    const message = evidenceMessage(Array.from({ length: 5_000 }, () => decision('prod/shop', { gates: [gate(change), gate('\u001b]0;x')] })));
    expect(message.length).toBeLessThan(32_000);
    expect(message).toContain('Stella-Omitted: 14940');
    expect(message).not.toMatch(/^Stella-Change/m);
    expect(message).not.toContain('\u001b');
    expect(parseTrailers(message)).toEqual([]);
  });

  it('stands in what is pushed, and a server that starts on an empty disk verifies it', async () => {
    world = await World.create();
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.pass();
    const log = (await runProgram('git', ['-C', world.repository.folder, 'log', '-1', '--format=%(trailers:key=Stella-Decision,valueonly)%(trailers:key=Stella-Record,valueonly)', EVIDENCE_REF])).toString();
    expect(log).toContain('dev/shop allow');
    expect(log).toMatch(/\d+\.\.\d+/);
    await world.restart();
    expect((await world.pass()).fault).toBeNull();
  });
});

describe('a reconciler', () => {
  const release = doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } });

  it('records a tag that flips for ever a few times, and again once it is something new', async () => {
    world = await World.create({ idle: true });
    await world.reconciler({ tagPollSeconds: 0 });
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([release, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    const before = (await world.state()).size;
    for (let n = 0; n < 4 * LOOP_LIMITS.tagReturns; n++) {
      world.registry.put('shop/api:1.0', n % 2 === 0 ? 'two' : 'one');
      world.now = new Date(world.now.getTime() + 1_000);
      await world.pass();
    }
    const size = (await world.state()).size;
    expect(size - before).toBe(LOOP_LIMITS.tagReturns + 1);
    world.registry.put('shop/api:1.0', 'three');
    await world.pass();
    expect((await world.state()).size).toBe(size + 1);
  });

  it('is brought to rest by a forge that calls back for each push, many times', async () => {
    world = await World.create({ idle: true });
    const calls: (() => void)[] = [];
    const reconciler = await world.reconciler({ onRecord: () => { for (let n = 0; n < 20; n++) for (const call of calls) call(); } });
    const timers: LoopTimers = { after: () => () => undefined };
    let passes = 0;
    const rest = Promise.withResolvers<void>();
    const loop = new ReconcileLoop({ reconciler, now: () => world!.now, timers, random: () => 0, pollSeconds: 60, onPass: ({ report }) => { passes += 1; if (report.records === 0) rest.resolve(); } });
    calls.push(() => loop.wake('webhook'));
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([release, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    loop.start();
    await rest.promise;
    const { size } = await world.state();
    for (let n = 0; n < 20; n++) loop.wake('webhook');
    await loop.stop();
    expect((await world.state()).size).toBe(size);
    expect(passes).toBeLessThanOrEqual(8);
  });
});
